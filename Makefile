# What is done with this project, by people and by CI alike. "make help" lists
# it. Everything that is built goes to .build/.

GO      ?= go
# Each module by its own go.mod: go.work is for commands that name packages of two modules.
export GOWORK ?= off
# More flags for go test, the demo, the fuzzer and the figures:
#   make test TESTFLAGS=-v      make demo DEMOFLAGS=--help
#   make fuzz FUZZFLAGS='-fuzztime=2m -seed=7'
#   make chaos CHAOSFLAGS='-only halves -runs 1'
#   make bench BENCHFLAGS='-sizes 8,64,256 -systems concord,memberlist-lan'
TESTFLAGS   ?=
DEMOFLAGS   ?=
FUZZFLAGS   ?=
FIGUREFLAGS ?=
OVERLOADFLAGS ?=
CHAOSFLAGS  ?=
BENCHFLAGS  ?=
# make kv-chaos KVCHAOSFLAGS='-for 3m'     make cron-chaos CRONCHAOSFLAGS='-for 3m'
KVCHAOSFLAGS   ?=
CRONCHAOSFLAGS ?=
FUZZTIME    ?= 10m
SOAKTIME    ?= 30m
BENCH       ?= .
COUNT       ?= 20
# A package that takes longer hangs: its goroutines are printed. The longest takes two minutes
# on two cores, and this machine may be four times slower.
TIMEOUT     ?= 10m

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(CURDIR)/.build/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
STATICCHECK      := $(CURDIR)/.build/bin/staticcheck

# The sections of "make test", in their order. The real processes, which wait more than they
# compute, run beside those after them until raced.
SECTIONS := setup vet cross fmt tidy modules check-generated lint processes rooms explore simulate nested raced

# Without it every program of the race detector sleeps for a second when it ends.
export GORACE ?= atexit_sleep_ms=0

# Packages in which the race detector takes five times as long and finds nothing. They have
# no goroutines, which internal/archtest sees to; those of internal/sim run whole
# simulations, which share nothing.
SEQUENTIAL := ./internal/balance ./internal/explore ./internal/invariant ./internal/mutant ./internal/peer ./internal/protocol ./internal/ring ./internal/ringmap ./internal/sim ./internal/sim/balancesim ./internal/sim/mapsim

# Packages of whole rings in one process, whose parts are raced as packages of their own. make
# race has them, too.
RINGS := ./test/attack ./test/interop
UNRACED := $(SEQUENTIAL) $(RINGS)

# Packages whose tests take longest begin first, so that none of them is the last and alone.
LONG := . ./internal/node ./cmd/concord ./examples/cron ./concordtest ./internal/transport/grpc ./concordgrpc ./examples/cron/chaos ./test/chaos ./test/fuzz ./internal/bench

.DEFAULT_GOAL := help
.PHONY: help demo build test $(SECTIONS) unit race explore-long mutants verify verify-long generate licenses lint-all browser screenshots bench microbench cover fuzz fuzz-all stress chaos kv-chaos cron-chaos soak attack overload figures clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build the command, to .build/bin/concord
	@mkdir -p .build/bin
	@$(GO) build -o .build/bin/concord ./cmd/concord

demo: build ## run a ring of real processes that tells its story
	@.build/bin/concord demo $(DEMOFLAGS)

test: ## everything that CI runs: the sections below, each with its time
	@BESIDE=processes UNTIL=raced tools/sections.sh $(MAKE) $(SECTIONS)

setup: ## install what the tests need and the machine lacks (Debian)
	@tools/setup.sh

vet: ## go vet
	$(GO) vet ./...

cross: ## go vet for Windows and macOS, which compiles everything, tests too
	GOOS=windows $(GO) vet ./...
	GOOS=darwin $(GO) vet ./...

fmt: ## fail if a file is not formatted
	@files=$$(find . -name '*.go' -not -path './.*/*' -exec gofmt -l {} +) && \
	if [ -n "$$files" ]; then printf 'not formatted (gofmt -w):\n%s\n' "$$files"; exit 1; fi

tidy: ## fail if go.mod or go.sum say more or less than is used
	$(GO) mod tidy -diff

modules: ## fail if a module is not what go.sum says, or docs/LICENSES.md is not current
	$(GO) mod verify
	@tools/licenses.sh --check

licenses: ## make docs/LICENSES.md: the licences of all dependencies
	@tools/licenses.sh

generate: ## generate code from proto/, and docs/CLI.md
	$(GO) generate ./...

check-generated: ## fail if generated code is not what proto/ gives
	@tools/check-generated.sh

lint: $(STATICCHECK) ## staticcheck
	$(STATICCHECK) ./...

lint-all: $(GOLANGCI) ## every linter of .golangci.yml (the first time builds golangci-lint: minutes)
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...
	@for mod in bench examples/kv test/alerts test/browser; do \
		echo "$$mod:" && (cd $$mod && GOWORK=off $(GOLANGCI) run --config '$(CURDIR)/.golangci.yml' ./...) || exit 1; done

unit: rooms raced ## go test, with -race where there are goroutines; seeds of the fuzz tests included

# -vet=off: the section vet has vetted all packages.
# GOGC: simulations make and drop much, and hold little.
rooms: ## the part of unit without the race detector
	GOGC=400 $(GO) test -vet=off -timeout=$(TIMEOUT) $(TESTFLAGS) $(UNRACED)

# Many of these tests wait: one package more at once than there are processors.
raced: ## the part of unit with the race detector
	$(GO) test -vet=off -race -p=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) -timeout=$(TIMEOUT) $(TESTFLAGS) $(LONG) \
		$$($(GO) list ./... | grep -v -x $(patsubst .%,-e github.com/ollelogdahl/concord%,$(UNRACED) $(LONG)))

race: ## go test -race of everything: part of it is unit
	$(GO) test -race -timeout=20m $(TESTFLAGS) ./...

nested: ## vet and test the modules inside this one
	@GO='$(GO)' tools/nested.sh $(TESTFLAGS)

browser: ## the page in a real browser; part of nested
	cd test/browser && GOWORK=off $(GO) test -race -timeout=$(TIMEOUT) $(TESTFLAGS) ./...

screenshots: ## the page's pictures in docs/img, made anew
	@mkdir -p docs/img
	cd test/browser && GOWORK=off $(GO) test -run=TestScreenshots -count=1 . -screenshots='$(CURDIR)/docs/img'

bench: ## measure docs/PERFORMANCE.md's tables and plots, beside peers: an hour or more, on a quiet machine
	cd bench && GOWORK=off $(GO) run . -docs ../docs -json ../docs/plots/bench.json $(BENCHFLAGS)

microbench: ## the benchmarks of the packages
	$(GO) test -run='^$$' -bench='$(BENCH)' -benchmem $(TESTFLAGS) ./...

cover: ## coverage of the library by all tests, to .build/cover.html
	@mkdir -p .build
	$(GO) test -covermode=atomic -coverprofile=.build/cover.out $(TESTFLAGS) \
		-coverpkg="$$($(GO) list . ./internal/... | grep -v -e /pb$$ -e test$$ -e /cluster$$ -e /bench$$ | paste -sd, -)" ./...
	$(GO) tool cover -html=.build/cover.out -o .build/cover.html
	@$(GO) tool cover -func=.build/cover.out | tail -n 1

fuzz: ## random joins and kills on a live ring over real sockets
	$(GO) run -race ./test/fuzz/fuzz.go $(FUZZFLAGS)

fuzz-all: ## every fuzz test for FUZZTIME: three hours and more
	@GO='$(GO)' tools/fuzz-all.sh $(FUZZTIME)

stress: ## the packages that hold the ring, COUNT times over, under the race detector
	$(GO) test -race -count=$(COUNT) -timeout=20m $(TESTFLAGS) . \
		./internal/protocol/... ./internal/routing/... ./internal/node/... ./internal/transport/...

chaos: ## rings of real processes, killed, stopped and cut apart: everything, 20 minutes
	$(GO) run ./test/chaos $(CHAOSFLAGS)

kv-chaos: ## examples/kv in processes that are killed, wiped and stopped: lost writes, histories, 10 min
	cd examples/kv && GOWORK=off $(GO) run ./chaos $(KVCHAOSFLAGS)

cron-chaos: ## examples/cron in processes that are killed and stopped: overlapping, double and missed runs, 10 min
	$(GO) run ./examples/cron/chaos $(CRONCHAOSFLAGS)

soak: ## faults by chance and hostile requests in a ring of 16 processes for SOAKTIME
	$(GO) run ./test/chaos -soak $(SOAKTIME)

processes: ## the part of chaos that CI runs
	$(GO) run ./test/chaos -ci

attack: ## attack rings of real members, one attack a test; part of unit
	$(GO) test -race -timeout=$(TIMEOUT) -count=1 $(TESTFLAGS) ./test/attack

overload: ## what a member does under three times as many requests as it can answer, 4 min
	$(GO) run ./test/overload $(OVERLOADFLAGS)

figures: ## measure the figures of docs/PERFORMANCE.md, on this machine, now
	$(GO) run ./test/figures $(FIGUREFLAGS)

simulate: build ## seeded rings on virtual time, with every fault: the part that CI runs
	.build/bin/concord sim --members 64 --seeds 50 --faults all
	.build/bin/concord sim leases --seeds 50 --faults all

CHECK := .build/bin/concord check

explore: build ## every order of events in small rings: the part that CI runs
	$(CHECK) --members 4
	$(CHECK) --members 4 --joins-apart
	$(CHECK) --members 4 --takeover
	$(CHECK) --members 4 --takeover --grain 2 --start ring
	$(CHECK) --members 5 --start ring
	$(CHECK) --members 5 --successors 3 --start ring
	$(CHECK) --members 6 --pairs --start ring
	$(CHECK) --members 4 --grain 2 --start ring
	$(CHECK) --members 3 --grain 2 --start founder
	$(CHECK) --members 4 --grain 3 --start ring --joins 1 --fails 1
	$(CHECK) --members 4 --start ring --assume nothing --joins 1 --fails 2 --suspicions 1
	$(CHECK) --members 4 --start ring --assume nothing --joins 0 --fails 1 --restarts 1 --suspicions 1
	$(CHECK) --members 4 --start founder --assume nothing --joins 2 --fails 1 --suspicions 1
	$(CHECK) --members 3 --start ring --assume nothing --fails 1 --joins 0 --memory 0
	$(CHECK) --members 4 --start ring --assume nothing --drain --leaves 4 --joins 0 --fails 0 --quiet 0
	$(CHECK) --members 4 --every
	$(CHECK) --members 4 --every --successors 3

explore-long: build ## the checker's runs that take minutes
	$(CHECK) --members 5 --start founder
	$(CHECK) --members 5 --start ring --joins-apart
	$(CHECK) --members 6 --pairs --successors 1 --start ring --fails 1 --quiet 0
	$(CHECK) --members 3 --grain 3 --quiet 0
	$(CHECK) --members 4 --grain 2 --start ring --leaves 2 --joins 1
	$(CHECK) --members 3 --grain 2 --start ring --assume nothing --drain --leaves 3 --joins 0 --fails 0 --quiet 0
	$(CHECK) --members 4 --assume successor --start ring
	$(CHECK) --members 4 --assume nothing --start founder --joins 3 --fails 1 --suspicions 1 --time 10m
	$(CHECK) --members 4 --assume nothing --start ring --joins 1 --fails 2 --suspicions 2
	$(CHECK) --members 4 --assume nothing --start ring --joins 1 --fails 1 --restarts 1 --suspicions 1
	$(CHECK) --members 2 --assume nothing --start founder --grain 3 --joins 1 --fails 0 --losses 2 --doubles 0 --memory 0
	$(CHECK) --members 4 --grain 2 --start founder --joins 2 --quiet 0
	$(CHECK) --members 4 --grain 2 --start founder --quiet 0 --time 10m
	$(CHECK) --members 6 --successors 3 --start ring --quiet 0 --time 10m
	$(CHECK) --members 4 --assume nothing --start ring --fails 2 --joins 1 --memory 0 --time 10m

mutants: ## plant every known mistake, have it found, and write the table of docs/VERIFICATION.md
	$(GO) test -count=1 -timeout=20m $(TESTFLAGS) ./internal/mutant -update

verify: explore simulate ## what CI verifies of the protocol

verify-long: explore explore-long mutants ## the same and more of it, and the figures of docs/VERIFICATION.md, an hour
	$(GO) test -count=1 -timeout=20m $(TESTFLAGS) ./internal/protocol ./internal/sim -all
	.build/bin/concord sim --members 64 --seeds 1000 --faults all
	.build/bin/concord sim leases --seeds 1000 --faults all
	.build/bin/concord sim --members 64 --seeds 1000 --faults none --duration 20s --hostile 0.1 --identity
	.build/bin/concord sim heal --seeds 1000 --sizes 64 --no-fingers --svg .build/heal.svg
	.build/bin/concord sim merge --latency constant:1ms --svg .build/merge.svg
	.build/bin/concord sim merge --cut 5m --sizes 64 --seeds 1000 --svg .build/cut.svg
	.build/bin/concord sim churn --members 10000

clean: ## remove what was built
	rm -rf .build

$(STATICCHECK): tools/go.mod tools/go.sum
	@mkdir -p $(@D)
	cd tools && GOWORK=off $(GO) build -buildvcs=false -o $@ honnef.co/go/tools/cmd/staticcheck
	@touch $@

$(GOLANGCI):
	GOWORK=off GOBIN=$(@D) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
