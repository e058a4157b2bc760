package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordprom"
)

// leaveTimeout bounds the good-bye to the neighbours, unless --leave-timeout does.
const leaveTimeout = 5 * time.Second

type runFlags struct {
	name, bind, advertise string
	join                  []string
	found                 bool
	foundAfter            time.Duration
	cluster               string
	successors            uint
	minMembers            uint
	lease                 time.Duration
	limits                concord.Limits
	interval              time.Duration
	tls                   tlsFlags
	allow                 []string
	meta                  string
	zone                  string
	virtualNodes, weight  uint
	weighted              bool // weight is given
	stateDir              string
	http                  string
	httpHosts             []string
	admin                 string
	pprof                 bool
	metrics               string
	leaveTimeout          time.Duration
	logLevel              string
	json                  bool
	control               bool
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run one member until SIGINT or SIGTERM, then leave",
		Long: `Run one member of a ring. Without --join it creates a ring.

With --found, all members can be started with the same flags, in any order and
at the same time. Each is given the addresses of all members or of some, its own
among them. They join the ring if it exists. Otherwise one of the listed members
creates it.

--join takes host:port, where the host may be a name with several addresses, or
the name of SRV records without a port, such as _concord._tcp.example.com. Names
are resolved again at each try.

With --state-dir the member remembers members of its ring. After a restart it
looks for the ring at their addresses, too. Without --join it looks only there,
and creates a ring if none of them answers.

When the member is in the ring, it prints one line to standard output:

    ready name=node1 id=14560967844893253417 address=node1.example.com:7946

The line also has page=URL with --http, admin=host:port or admin=unix:PATH with
--admin, and metrics=URL with --metrics. A value with spaces, quotes or "=" is
quoted as a Go string. With --json the line is an object with the same names.
The member logs changes of state and the reason why it fails to standard error,
with --json as one object on each line. If nobody reads standard output or
standard error, the member goes on and drops what it cannot write. The log and
the metric concord_log_lost_records_total count the dropped records.

On SIGINT or SIGTERM the member leaves the ring, which takes at most
--leave-timeout. A second signal ends it at once. If it is in no ring yet, it
exits without an error. It tells systemd when it is ready and when it stops
(Type=notify), and it serves the watchdog of systemd.

With TLS, the name and the host that another member claims must be in its
certificate; see --tls-identity, and concord certs. With --allow, only the named
members may take part. Without TLS the names prove nothing.

The files of --tls-cert, --tls-key and --tls-ca are read again every five
seconds, and new connections use the new files. Connections are replaced after
at most 25 minutes. If the files cannot be used, the member logs that and uses
the old ones.`,
		Example: `  concord run --name node1 --bind :7946 --advertise node1.example.com:7946
  concord run --name node2 --bind :7946 --advertise node2.example.com:7946 \
      --join node1.example.com:7946
  concord run --name node1 --bind :7946 --advertise node1.example.com:7946 \
      --found --join node1.example.com:7946 --join node2.example.com:7946 \
      --join node3.example.com:7946`,
		Args: flagsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.weighted = cmd.Flags().Changed("weight")
			return f.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "name of the member, unique in the ring (required)")
	flags.StringVar(&f.bind, "bind", ":7946", "host:port to listen on; port 0 picks a free port")
	flags.StringVar(&f.advertise, "advertise", "", "host:port at which the other members reach this one; port 0 is the bound port (default: the bound address, if its host is not a wildcard)")
	flags.StringArrayVar(&f.join, "join", nil, "host:port of a member of the ring to join, or name of SRV records; may be repeated")
	flags.BoolVar(&f.found, "found", false, "if there is no ring at --join, create one together with the members that search, too")
	flags.DurationVar(&f.foundAfter, "found-after", concord.DefaultFoundAfter, "with --found: how long to wait for the members of --join that do not answer")
	flags.StringVar(&f.cluster, "cluster", "", "name of the ring; members with another name are refused")
	flags.UintVar(&f.successors, "successors", concord.DefaultSuccessorCount, "number of members after it that the member knows; one less may fail at the same time")
	flags.UintVar(&f.minMembers, "min-members", 0, "serve only while this many live members are known, this one included; at most --successors plus one")
	flags.DurationVar(&f.lease, "lease", 0, "own by leases of this length: with --min-members of more than half of all, no two members own a key at once; the same on all members, at least --interval times (--successors plus four); 0: without")
	flags.DurationVar(&f.interval, "interval", concord.DefaultStabilizeInterval, "time between two rounds in which the member checks its neighbours")
	f.tls.register(cmd, "the member's certificate, for both directions")
	flags.StringArrayVar(&f.allow, "allow", nil, "name of a member that may take part, this one included, or a pattern such as 'node*'; may be repeated (default: everybody may)")
	flags.StringVar(&f.meta, "meta", "", "what the application says about the member to everyone who asks, such as its own address")
	flags.UintVar(&f.virtualNodes, "virtual-nodes", 16, "number of identifiers at which the member stands; 16 on all members make shares even; at most 1024; 1 in a ring with members of the earlier library")
	flags.UintVar(&f.weight, "weight", 0, "number of identifiers at which it stands at first, if not --virtual-nodes; at least 1; concord weight changes it")
	flags.StringVar(&f.zone, "zone", "", "where the member runs, such as a rack or an availability zone; copies of a key belong in different ones")
	flags.StringVar(&f.stateDir, "state-dir", "", "directory in which the member remembers its ring over a restart; each member needs its own")
	flags.StringVar(&f.http, "http", "", "host:port of the page, /healthz and /readyz; an empty host is the loopback; there is no authentication")
	flags.StringArrayVar(&f.httpHosts, "http-host", nil, "host name by which the page, and HTTP at --admin and --metrics, may be requested, besides localhost, addresses, and the hosts of these flags and of --advertise; may be repeated")
	flags.StringVar(&f.admin, "admin", "", "host:port or unix:PATH for operators: concord status, watch, drain, weight and leave; gRPC health and reflection; /healthz, /readyz, /metrics for Prometheus; an empty host is the loopback; there is no authentication, but only the user of the process can open unix:PATH")
	flags.BoolVar(&f.pprof, "pprof", false, "serve /debug/pprof/ at --admin; it shows what is in memory")
	flags.StringVar(&f.metrics, "metrics", "", "host:port that serves only /metrics for Prometheus, if Prometheus must not reach --admin; an empty host is the loopback")
	flags.UintVar(&f.limits.Connections, "max-connections", 0, "number of connections that others may have to the member (default 4096, or half the number of files that the process may open)")
	flags.UintVar(&f.limits.ConnectionsPerHost, "max-per-host", 0, "number of them from one IP address, without those of members that the member knows (default 64, but no limit for loopback addresses)")
	flags.DurationVar(&f.leaveTimeout, "leave-timeout", leaveTimeout, "how long to wait for the neighbours when leaving")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&f.json, "json", false, "print the ready line and the log as JSON")
	flags.BoolVar(&f.control, "control", false, "answer commands on standard input, see control.go; its end is a SIGTERM")
	_ = flags.MarkHidden("control") // fails only for a flag that does not exist
	return cmd
}

// errTold is the error of a command that has told itself why it fails.
var errTold = errors.New("told")

// run is the life of the member. All that it logs goes through one journal: a member
// does not live and die with whoever reads its log.
func (f *runFlags) run(ctx context.Context, in io.Reader, out, logs io.Writer) error {
	signal.Ignore(syscall.SIGPIPE) // which would end it when the reader of its log or its output ends
	level, err := f.level()
	records := newJournal(logs, format(level, f.json))
	defer records.flush()
	if err == nil {
		err = f.live(ctx, in, out, records)
	}
	if err != nil {
		records.fail(err, f.json)
		return errTold
	}
	return nil
}

func (f *runFlags) live(ctx context.Context, in io.Reader, out io.Writer, records *journal) error {
	log := slog.New(records.handler(records))
	capture(log)
	cfg, err := f.config(log.Handler())
	if err != nil {
		return err
	}
	secured, err := f.tls.renewing(log)
	if err != nil {
		return err
	}
	cfg.TLS = secured.config()
	var page net.Listener
	if f.http != "" {
		if page, err = listenHTTP("--http", f.http); err != nil {
			return err
		}
		defer page.Close()
		if f.meta == "" {
			cfg.Meta = f.pageMeta(page)
		}
	}
	measured := concordprom.New()
	if f.admin != "" || f.metrics != "" {
		cfg.Observer = measured.Observer()
	}
	node := concord.New(cfg)
	if err := node.Start(); err != nil {
		return advise(err)
	}
	defer node.Stop()
	if f.weight > 0 {
		if err := node.SetWeight(ctx, int(min(f.weight, math.MaxInt32))); !errors.Is(err, concord.ErrNotJoined) {
			return fmt.Errorf("--weight: %s", strings.TrimPrefix(err.Error(), "concord: "))
		}
	}
	f.warn(log)

	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	leave := func() error {
		leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.leaveTimeout)
		defer cancel()
		err := node.Leave(leaving)
		if err == nil {
			log.Info("left")
		}
		return err
	}
	ready := readiness{Name: node.Name(), Id: node.Id(), Address: node.Address()}
	others, err := f.serve(node, measured.Handler(node, records.metric()), page, log, &ready, func() error {
		defer hangUp() // which lets the process end
		return leave()
	})
	if err != nil {
		return err
	}
	defer others.close()

	boss := newSupervisor(os.Getenv)
	tell := func(assignments ...string) {
		if err := boss.tell(assignments...); err != nil {
			log.Warn("the supervisor cannot be told", slog.Any("err", err))
		}
	}
	var watching sync.WaitGroup
	ended := make(chan struct{})
	defer watching.Wait()
	defer close(ended)
	watching.Go(func() { boss.watch(ended, node.Alive) })
	watching.Go(func() { secured.follow(ended) })
	tell("STATUS=joining")

	if err := f.enter(ctx, node); err != nil {
		if ctx.Err() != nil { // it was told to end, and has not failed
			tell("STOPPING=1")
			log.Info("ended before it was in a ring", slog.Any("err", err))
			return nil
		}
		return advise(err)
	}
	tell("READY=1", "STATUS=in the ring as "+quoted(node.Name())+" at "+node.Address())

	printed := make(chan struct{})
	go func() { // waited for but for a moment: nothing ends a write that nobody reads, or a read of standard input
		err := f.printReady(out, ready)
		close(printed)
		if err != nil {
			log.Warn("the ready line cannot be printed", slog.Any("err", err))
		}
		if f.control {
			defer hangUp()
			f.obey(node, in, out, log)
		}
	}()
	<-ctx.Done()
	select {
	case <-printed:
	case <-time.After(journalGrace):
		log.Warn("nobody reads the ready line")
	}

	tell("STOPPING=1", "STATUS=leaving")
	if err := leave(); err != nil && !errors.Is(err, concord.ErrStopped) {
		return fmt.Errorf("stopped before all neighbours had acknowledged that it leaves: %w", err)
	}
	return nil
}

// obey answers commands on standard input until it ends.
func (f *runFlags) obey(node *concord.Concord, in io.Reader, out io.Writer, log *slog.Logger) {
	if err := serveControl(node, in, out); err != nil {
		log.Error("commands on standard input are not answered any more", slog.Any("err", err))
	}
}

// readiness is what the ready line says.
type readiness struct {
	Name    string `json:"name"`
	Id      uint64 `json:"id,string"`
	Address string `json:"address"`
	Page    string `json:"page,omitempty"`
	Admin   string `json:"admin,omitempty"`
	Metrics string `json:"metrics,omitempty"`
}

func (f *runFlags) printReady(out io.Writer, r readiness) error {
	if f.json {
		return printLine(out, r)
	}
	line := fmt.Sprintf("ready name=%s id=%d address=%s", quoted(r.Name), r.Id, quoted(r.Address))
	if r.Page != "" {
		line += " page=" + r.Page
	}
	if r.Admin != "" {
		line += " admin=" + quoted(r.Admin)
	}
	if r.Metrics != "" {
		line += " metrics=" + r.Metrics
	}
	_, err := fmt.Fprintln(out, line)
	return err
}

// enter makes the member one of a ring.
func (f *runFlags) enter(ctx context.Context, node *concord.Concord) error {
	switch {
	case f.found:
		return node.JoinOrCreate(ctx, f.join...)
	case len(f.join) > 0:
		return node.Join(ctx, f.join...)
	case f.stateDir != "":
		return node.JoinOrCreate(ctx, node.Address())
	}
	return node.Create()
}

// level is that of the log; info if the flag names none.
func (f *runFlags) level() (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return slog.LevelInfo, fmt.Errorf("--log-level %q: use debug, info, warn or error", f.logLevel)
	}
	return level, nil
}

// warn logs what is allowed and seldom meant.
func (f *runFlags) warn(log *slog.Logger) {
	if f.cluster == "" {
		log.Info("no cluster is named: this ring and another that has no name either can become one if a member is given addresses of both",
			slog.String("flag", "--cluster"))
	}
	if f.lease > 0 && f.minMembers <= 1 {
		log.Warn("leases without votes: in a partition two members can own a key at once, unless more than half of all members have to be together",
			slog.String("flag", "--min-members"))
	}
}

func (f *runFlags) config(logs slog.Handler) (concord.Config, error) {
	if f.name == "" {
		return concord.Config{}, errors.New("a member needs a name that is unique in the ring: --name node1")
	}
	if f.successors == 0 {
		return concord.Config{}, errors.New("--successors 0: use at least 1, or leave the flag out")
	}
	if f.found && len(f.join) == 0 {
		return concord.Config{}, errors.New("--found needs --join with the addresses of the members that may create the ring, its own among them")
	}
	if f.foundAfter == 0 {
		return concord.Config{}, errors.New("--found-after 0s: use at least 100ms, or leave the flag out")
	}
	if f.interval == 0 {
		return concord.Config{}, errors.New("--interval 0s: use at least 10ms, or leave the flag out")
	}
	if f.weighted && f.weight == 0 {
		return concord.Config{}, errors.New("--weight 0: a member begins at one identifier or more. Leave the flag out, and let it drain once it is in the ring: concord drain")
	}
	if f.pprof && f.admin == "" {
		return concord.Config{}, errors.New("--pprof needs --admin, where it is served")
	}
	if f.leaveTimeout <= 0 {
		return concord.Config{}, errors.New("--leave-timeout: use a time greater than 0s, or leave the flag out")
	}
	authorize, err := allowed(f.allow)
	if err != nil {
		return concord.Config{}, err
	}
	return concord.Config{
		Name:              f.name,
		Authorize:         authorize,
		BindAddr:          f.bind,
		AdvAddr:           f.advertise,
		Cluster:           f.cluster,
		SuccessorCount:    f.successors,
		StabilizeInterval: f.interval,
		Meta:              []byte(f.meta),
		Zone:              f.zone,
		VirtualNodes:      f.virtualNodes,
		MinMembers:        f.minMembers,
		Lease:             f.lease,
		FoundAfter:        f.foundAfter,
		StateDir:          f.stateDir,
		Limits:            f.limits,
		LogHandler:        logs,
	}, nil
}
