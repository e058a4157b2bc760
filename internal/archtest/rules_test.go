package archtest

// A rule forbids arrows between packages. Our own packages are named as the go
// command names them from the root of the module: "." is package concord,
// "./internal/ring" a package, "./internal/transport/..." it and all below it,
// "./.../*test" every package below the root whose name ends in test.
type rule struct {
	packages []string // whom it binds
	except   []string // whom it does not

	// only, if not nil: outside of the standard library these alone may be
	// imported.
	only []string
	// never: these may not be imported, unless they are among those that are.
	never, unless []string
	// through: nor may they be reached through other packages. It does not
	// apply to the standard library, in which everything reaches everything.
	through bool

	reason string
}

// library is what a user links; the rest of the module is programs and tests.
var library = []string{".", "./internal/..."}

// testSupport are packages that tests import, and no program that ships.
var testSupport = []string{"./.../*test", "./internal/mutant/..."}

// aboveFace are the rooms that see of a ring what a user does.
var aboveFace = []string{"./internal/web", "./internal/child", "./internal/demo", "./internal/metrics", "./internal/cluster", "./internal/bench", "./internal/remote", "./internal/survey"}

var rules = []rule{
	{
		packages: []string{"./internal/plain"},
		only:     []string{},
		reason:   "what is harmless to read is so in every room",
	},
	{
		packages: []string{"./internal/ring"},
		only:     []string{"./internal/plain"},
		through:  true,
		reason:   "arithmetic on the circle is below every other room and needs none of them",
	},
	{
		packages: []string{"./internal/protocol"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/voting"},
		through:  true,
		reason: "the same machine is driven by the runtime, the simulator and the model checker: " +
			"it can know none of them, nor any wire",
	},
	{
		packages: []string{"./internal/peer"},
		only:     []string{"./internal/ring", "./internal/plain"},
		through:  true,
		reason:   "what is known of others is decided alike for the runtime, for the simulator and for lookups, which share nothing above it",
	},
	{
		packages: []string{"./internal/routing"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer"},
		through:  true,
		reason:   "next-hop decisions also serve clients that run no protocol, and the simulator, which has no wire",
	},
	{
		packages: []string{"./internal/ringmap"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer"},
		through:  true,
		reason:   "the map is driven by the runtime, by the simulators and by clients, which share nothing above it",
	},
	{
		packages: []string{"./internal/balance"},
		only:     []string{"./internal/ring", "./internal/plain"},
		through:  true,
		reason:   "where a member stands is arithmetic on what it knows of the circle, whoever told it",
	},
	{
		packages: []string{"./internal/voting"},
		only:     []string{"./internal/ring", "./internal/plain"},
		through:  true,
		reason:   "what a process votes for is decided by what it was asked and told, whoever asked",
	},
	{
		packages: []string{"./internal/standing"},
		only:     []string{},
		through:  true,
		reason:   "when identifiers come and go is decided without the ring, for the runtime and the simulator",
	},
	{
		packages: []string{"./internal/protocol", "./internal/voting", "./internal/routing", "./internal/peer", "./internal/ringmap", "./internal/balance", "./internal/standing"},
		never: []string{
			"bufio", "context", "crypto/rand", "crypto/tls", "io", "io/fs", "log", "log/slog", "maps", "math/rand",
			"net", "net/...", "os", "os/...", "reflect", "runtime", "runtime/...", "syscall",
			"unique", "unsafe", "weak",
		},
		reason: "the machine has no I/O, goroutine, lock, channel, context, logger, clock or global randomness: " +
			"same events in, same effects out, and a state that the model checker can copy and compare",
	},
	{
		packages: []string{"./internal/protocol", "./internal/peer", "./internal/ringmap", "./internal/balance", "./internal/standing"},
		never:    []string{"sync", "sync/atomic"},
		reason: "one event at a time; only what routing keeps for lookups, the confirmed arcs, is read while it is written, " +
			"and the members of a process share its votes",
	},
	{
		packages: []string{"./internal/node"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/ringmap", "./internal/balance", "./internal/standing", "./internal/transport", "./internal/transport/deadline", "./internal/transport/shared", "./internal/bootstrap", "./internal/workers"},
		through:  true,
		reason: "the runtime drives the machine over whichever transport it is handed; if it reached gRPC, " +
			"a ring in memory would not be the ring that ships",
	},
	{
		packages: []string{"./internal/bootstrap"},
		only:     []string{"./internal/ring", "./internal/plain"},
		through:  true,
		reason:   "names and files lead to addresses; what is asked there, and by whom, is no business of theirs",
	},
	{
		packages: []string{"./internal/transport"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/ringmap"},
		through:  true,
		reason:   "what members say to each other is said in the words of the rooms below, not in those of one wire",
	},
	{
		packages: []string{"./internal/transport/memory", "./internal/transport/transporttest"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/ringmap", "./internal/transport", "./internal/transport/fault"},
		through:  true,
		reason: "a network in memory, and a suite for every transport, that need gRPC would hide " +
			"what only gRPC does",
	},
	{
		packages: []string{"./internal/transport/fault"},
		only:     []string{},
		reason:   "what becomes of a packet does not depend on what is in it",
	},
	{
		packages: []string{"./internal/workers"},
		only:     []string{},
		reason:   "it runs functions and knows nothing of what they do",
	},
	{
		packages: []string{"./internal/transport/budget"},
		only:     []string{},
		through:  true,
		reason:   "what others may use of a member does not depend on the wire, nor on what they ask",
	},
	{
		packages: []string{"./internal/transport/loopback"},
		only:     []string{"./internal/transport", "./internal/transport/fault", "./internal/transport/grpc"},
		reason:   "it holds up the bytes of the transport that ships, and does not know what they say",
	},
	{
		packages: []string{"."},
		never:    []string{"./internal/transport/memory", "./internal/transport/loopback", "./internal/transport/fault"},
		through:  true,
		reason:   "who links the library does not link the faults of its tests; those come with concordtest",
	},
	{
		packages: []string{"./concordtest"},
		only:     []string{".", "./internal/cluster", "./internal/transport", "./internal/transport/memory", "./internal/transport/loopback"},
		reason:   "it puts rings of the library on networks with faults: the truth is the cluster's, the faults are the networks'",
	},
	{
		packages: []string{"./internal/transport/grpc"},
		only: []string{
			"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/ringmap", "./internal/transport",
			"./internal/transport/budget", "./internal/transport/deadline", "./internal/pb", "./internal/workers",
			"google.golang.org/grpc/...", "google.golang.org/protobuf/...",
		},
		reason: "a transport carries and decides nothing: it knows the words, the contract and gRPC, not the runtime",
	},
	{
		packages: []string{"./..."},
		// bench makes messages to know how large they are, and reads none; attacks are
		// messages that no code of ours would make.
		except: []string{"./internal/transport/grpc", "./internal/transport/.../*test", "./internal/bench", "./test/attack"},
		never:  []string{"./internal/pb"},
		reason: "the types of the wire stay where they are converted and their bounds are checked; " +
			"elsewhere a message could be used unchecked",
	},
	{
		packages: library,
		// bench holds lookups against bare gRPC calls.
		except: []string{"./internal/pb", "./internal/transport/grpc", "./internal/transport/.../*test", "./internal/bench", "./internal/admin", "./internal/remote/..."},
		never:  []string{"google.golang.org/..."},
		unless: []string{"google.golang.org/grpc"}, // see the next rule
		reason: "gRPC is one transport's business: another must be able to take its place",
	},
	{
		packages: library,
		except:   []string{".", "./internal/pb", "./internal/transport/grpc", "./internal/transport/.../*test", "./internal/bench", "./internal/admin", "./internal/remote/..."},
		never:    []string{"google.golang.org/grpc"},
		reason:   "of the other rooms only the face names gRPC, since an application hands its server to it and is handed connections",
	},
	{
		packages: []string{"./internal/transport/legacytest"},
		only:     []string{"./internal/ring", "./internal/plain", "google.golang.org/grpc/...", "google.golang.org/protobuf/..."},
		reason:   "a stand-in for the existing library that shared our code would share our mistakes",
	},
	{
		packages: []string{"./internal/pb"},
		only:     []string{"google.golang.org/grpc/...", "google.golang.org/protobuf/..."},
		reason:   "generated from the contract, which knows no room of this house",
	},
	{
		packages: []string{"./internal/invariant"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing"},
		through:  true,
		reason:   "what must hold of a ring is one list for the checker, the simulator and the tests",
	},
	{
		packages: []string{"./internal/explore"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/invariant"},
		through:  true,
		reason:   "the model checker exhausts the machine; a runtime or a wire under it has no end of states",
	},
	{
		packages: []string{"./internal/sim"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/ringmap", "./internal/invariant", "./internal/standing"},
		through:  true,
		reason:   "the simulator has its own network and time; the real ones would make a run unrepeatable",
	},
	{
		packages: []string{"./internal/sim/mapsim"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/peer", "./internal/ringmap", "./internal/invariant", "./internal/sim"},
		reason:   "the maps run on an abstract ring, so that there can be more of them than the protocol can be simulated with",
	},
	{
		packages: []string{"./internal/sim/balancesim"},
		only:     []string{"./internal/ring", "./internal/plain", "./internal/balance"},
		reason:   "shares of the circle follow from where members stand; how they come to know that is not asked there",
	},
	{
		packages: []string{"./internal/sim/study"},
		only:     []string{"./internal/sim", "./internal/svg"},
		reason:   "an experiment is made of runs, and of nothing that a run does not show",
	},
	{
		packages: []string{"./internal/mutant/..."},
		only: []string{
			"./internal/ring", "./internal/plain", "./internal/peer", "./internal/protocol", "./internal/voting", "./internal/routing", "./internal/ringmap", "./internal/invariant", "./internal/standing", "./internal/explore", "./internal/sim", "./internal/sim/mapsim",
			"./internal/mutant",
		},
		through: true,
		reason:  "it is built anew for each mistake: what no mistake is planted in, and nothing searches, only makes that slow",
	},
	{
		packages: []string{"./internal/..."},
		except:   append(aboveFace, testSupport...),
		never:    []string{"."},
		through:  true,
		reason:   "the face is built on the rooms, not they on it",
	},
	{
		packages: []string{"./internal/child"},
		only:     []string{"."},
		reason:   "who runs a member as another process sees of it what a user does",
	},
	{
		packages: []string{"./internal/demo"},
		only:     []string{".", "./internal/child"},
		reason:   "its members are processes like those of any user, asked as anybody can ask them",
	},
	{
		packages: []string{"./internal/cluster"},
		only:     []string{".", "./internal/ring", "./internal/plain"},
		reason:   "the truth about a ring is worked out from what its members show to anybody",
	},
	{
		packages: []string{"./internal/bench"},
		only: []string{
			".", "./internal/cluster", "./internal/ring", "./internal/plain", "./internal/pb",
			"./internal/transport", "./internal/transport/grpc", // of a client, whose bytes are counted
			"google.golang.org/grpc/...", "google.golang.org/protobuf/...",
		},
		reason: "what is measured is what a user of the face gets, in a ring whose truth is known, beside gRPC",
	},
	{
		packages: []string{"./internal/remote"},
		only:     []string{".", "./internal/plain", "./internal/remote/adminpb", "google.golang.org/grpc/..."},
		reason:   "who operates a member from another process can do there what the face can, and no more",
	},
	{
		packages: []string{"./internal/remote/adminpb"},
		only:     []string{"google.golang.org/grpc/...", "google.golang.org/protobuf/..."},
		reason:   "generated from the service, which knows no room of this house",
	},
	{
		packages: []string{"./internal/survey"},
		only:     []string{".", "./internal/invariant", "./internal/protocol", "./internal/voting", "./internal/ring", "./internal/plain"},
		reason:   "a ring is judged from outside by what its members say through the face, and by the one list of rules",
	},
	{
		packages: []string{"./internal/web"},
		only:     []string{".", "./internal/survey", "./internal/guard", "./internal/plain"},
		reason:   "the page shows what the face gives to anybody, judged as the command judges it: what it cannot see there, no user can",
	},
	{
		packages: []string{"./internal/metrics"},
		only:     []string{"."},
		reason:   "what is measured is one list, read through the face, so that no adapter knows more than another",
	},
	{
		packages: []string{"./concordprom"},
		only:     []string{".", "./internal/metrics", "github.com/prometheus/client_golang/..."},
		reason:   "who measures with Prometheus links that and nothing else",
	},
	{
		packages: []string{"./concordotel"},
		only:     []string{".", "./internal/metrics", "go.opentelemetry.io/otel/..."},
		reason:   "who measures with OpenTelemetry links its interfaces, and chooses the exporter",
	},
	{
		packages: []string{"./concordgrpc"},
		only:     []string{".", "google.golang.org/grpc/...", "google.golang.org/protobuf/..."},
		reason:   "calls are routed by what the face tells of a ring, and by gRPC, which the library needs anyway",
	},
	{
		packages: []string{"./..."},
		except:   []string{"./concordprom", "./concordotel", "./cmd/...", "./test/..."},
		never:    []string{"./concordprom", "./concordotel"},
		through:  true,
		reason:   "who does not import an adapter must not link it",
	},
	{
		packages: library,
		never:    []string{"github.com/prometheus/...", "go.opentelemetry.io/..."},
		reason:   "the library tells an Observer; which metrics system hears of it is the application's choice",
	},
	{
		packages: []string{"./examples/..."},
		except:   []string{"./examples/.../internal/..."},
		never:    []string{"./internal/..."},
		reason:   "an example is to be copied by people who cannot import what is internal",
	},
	{
		packages: []string{"./test/..."},
		except:   []string{"./test/attack"}, // an attacker stands where no user does
		never:    []string{"./internal/..."},
		unless:   append([]string{"./internal/invariant", "./internal/child", "./internal/cluster", "./internal/bench"}, testSupport...),
		reason:   "a test of the whole stands where a user stands: what it cannot see through the face, no user can",
	},
	{
		packages: []string{"./internal/guard"},
		only:     []string{},
		reason:   "whom a listener answers is told by the request alone",
	},
	{
		packages: []string{"./internal/admin"},
		only:     []string{"./internal/guard", "./internal/plain", "google.golang.org/grpc/..."},
		reason:   "what the listener serves of a member is handed in, so that it can be served of a fake one",
	},
	{
		packages: []string{".", "./internal/..."},
		except:   []string{"./internal/admin", "./internal/web"},
		never:    []string{"./internal/admin"},
		reason:   "listeners for people and orchestrators are the command's; who uses the library has its own",
	},
	{
		packages: []string{"./cmd/..."},
		only: []string{
			".", "./concordtest", "./concordprom", "./cmd/...", "./internal/web", "./internal/admin", "./internal/guard", "./internal/plain", "./internal/sim", "./internal/sim/study", "./internal/sim/mapsim", "./internal/sim/balancesim", "./internal/svg", "./internal/explore", "./internal/demo", "./internal/child",
			"./internal/bench", "./internal/remote", "./internal/survey", "github.com/spf13/cobra", "github.com/spf13/pflag",
			// A metric of its own, and gRPC's log in the journal. The library needs both modules anyway.
			"github.com/prometheus/client_golang/prometheus", "google.golang.org/grpc/grpclog",
		},
		reason: "the command is thin: what it needs of a ring, the face must give; and a dependency of the command " +
			"is in the go.sum of everyone who uses the library",
	},
	{
		packages: []string{".", "./cmd/...", "./internal/..."},
		except:   testSupport,
		never:    testSupport,
		reason:   "what only tests need does not ship",
	},
	{
		packages: []string{".", "./cmd/...", "./internal/..."},
		except:   testSupport,
		never:    []string{"testing", "testing/..."},
		reason:   "package testing registers flags in every program that links it; doubles belong into packages that end in test",
	},
	{
		packages: library,
		never:    []string{"flag", "log", "expvar", "net/http/pprof"},
		except:   []string{"./internal/web", "./internal/admin"},
		reason:   "a library does not touch the flags, the log or the HTTP handlers of the program that it is in",
	},
}
