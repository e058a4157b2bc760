package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/pb"
	"github.com/ollelogdahl/concord/internal/transport/attacktest"
)

const (
	interval = 50 * time.Millisecond
	// patience bounds what a working ring does at once.
	patience = 20 * time.Second
)

// world is what attackers know of the rings here.
var world = attacktest.Default

// tidy is called when all tests have ended.
var tidy = func() {}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		tidy()
		os.Exit(code)
	}))
}

// target is a ring under attack.
type target struct {
	*cluster.Cluster

	t   *testing.T
	log journal
	// late counts requests between members that were not answered in time.
	late atomic.Int64
	// client is how clients of the ring are made.
	client concord.ClientConfig
}

// attacked makes a ring of n members, named m0, m1 and so on. Tests of it run beside each
// other.
func attacked(t *testing.T, n int, change ...func(i int, cfg *concord.Config)) *target {
	t.Helper()
	t.Parallel()
	r := &target{t: t}
	r.Cluster = cluster.New(func(i int) concord.Config {
		cfg := concord.Config{
			Name: fmt.Sprintf("m%d", i), StabilizeInterval: interval,
			LogHandler: slog.NewTextHandler(&r.log, nil), Observer: &concord.Observer{Request: r.request},
		}
		for _, f := range change {
			f(i, &cfg)
		}
		return cfg
	})
	t.Cleanup(r.Close)
	if _, err := r.AddMany(bounded(t, patience), n); err != nil {
		t.Fatal(err)
	}
	r.stands()
	return r
}

// bounded is a context of the test that ends after d.
func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// keys are looked up at every member after an attack.
var keys = func() (out [][]byte) {
	for i := range 16 {
		out = append(out, fmt.Appendf(nil, "key-%d", i))
	}
	return append(out, []byte("m0"), []byte("m1"))
}()

// stands fails the test unless the ring is ideal, or becomes so again, and all lookups are
// right, those that ask anew as well.
func (r *target) stands() {
	r.t.Helper()
	if _, err := r.WaitIdeal(bounded(r.t, patience)); err != nil {
		r.t.Fatalf("%v\n%s", err, r.log.text())
	}
	if _, err := r.WaitLookups(bounded(r.t, patience), keys...); err != nil {
		r.t.Fatalf("%v\n%s", err, r.log.text())
	}
	for _, m := range r.Members() {
		for _, key := range keys[:4] {
			if got, err := m.LookupContext(bounded(r.t, patience), key, concord.Fresh()); err != nil || got != r.Truth(key) {
				r.t.Fatalf("%s: a fresh lookup of %q gives %v, %v; should be %v\n%s", m.Name(), key, got, err, r.Truth(key), r.log.text())
			}
		}
	}
}

// request counts the requests of members to each other that are not answered in time.
func (r *target) request(ctx context.Context, q concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
	return ctx, func(e concord.RequestEnd) {
		isMember := func(m *concord.Concord) bool { return m.Address() == q.Server.Address }
		if e.Outcome == concord.OutcomeTimedOut && slices.ContainsFunc(r.Members(), isMember) {
			r.late.Add(1)
		}
	}
}

// unmoved runs an attack and fails the test if the ring is not ideal at any time until
// rounds rounds after it, or does not stand. A member that does not answer twice in the
// time that it has is dropped, attack or not, and that is what a machine with too much to
// do makes of one. So a ring whose members have timed out meanwhile need only stand.
func (r *target) unmoved(rounds uint64, attack func()) {
	r.t.Helper()
	late := r.late.Load()
	over := make(chan struct{})
	moved := make(chan string, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		again := time.NewTicker(2 * time.Millisecond)
		defer again.Stop()
		for {
			if wrong := r.Wrong(); wrong != "" {
				moved <- wrong
				return
			}
			select {
			case <-over:
				return
			case <-r.t.Context().Done(): // the attack has failed
				return
			case <-again.C:
			}
		}
	})
	attack()
	r.rounds(rounds)
	close(over)
	watching.Wait()
	select {
	case wrong := <-moved:
		if n := r.late.Load() - late; n > 0 {
			r.t.Logf("%d requests between members were not answered in time, and the ring was moved:\n%s", n, wrong)
			break
		}
		r.t.Errorf("the ring was moved:\n%s", wrong)
	default:
	}
	r.stands()
}

// rounds waits until every member has made that many more rounds.
func (r *target) rounds(k uint64) {
	r.t.Helper()
	from := map[string]uint64{}
	for _, m := range r.Members() {
		from[m.Name()] = m.Status().Counters.Rounds
	}
	r.await("rounds", func() bool {
		for _, m := range r.Members() {
			if m.Status().Counters.Rounds < from[m.Name()]+k {
				return false
			}
		}
		return true
	})
}

// await waits until something has happened.
func (r *target) await(what string, happened func() bool) {
	r.t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !happened() {
		select {
		case <-again.C:
		case <-deadline:
			r.t.Fatalf("%s: not in %v\n%s", what, patience, r.log.text())
		}
	}
}

// member is the one of that number by name.
func (r *target) member(i int) *concord.Concord {
	r.t.Helper()
	for _, m := range r.Members() {
		if m.Name() == fmt.Sprintf("m%d", i) {
			return m
		}
	}
	r.t.Fatalf("no member %d", i)
	return nil
}

// server is a member as it names itself.
func server(m *concord.Concord) *pb.Server {
	return world.Server(m.Name(), m.Address(), m.Status().Incarnation)
}

// after is the member that follows m on the circle.
func (r *target) after(m *concord.Concord) *concord.Concord { return r.step(m, 1) }

// before is the member that m follows.
func (r *target) before(m *concord.Concord) *concord.Concord { return r.step(m, -1) }

func (r *target) step(m *concord.Concord, k int) *concord.Concord {
	all := r.Members()
	for i := range all {
		if all[i] == m {
			return all[(i+k+len(all))%len(all)]
		}
	}
	r.t.Fatalf("%s is not in the ring", m.Name())
	return nil
}

// place is the range that a member with that identifier would have.
func (r *target) place(id uint64) concord.Range {
	before := r.Members()[len(r.Members())-1]
	for _, m := range r.Members() {
		if m.Id() < id {
			before = m
		}
	}
	return concord.Range{Start: before.Id(), End: id}
}

// client is an attacker's connection to m.
func client(t *testing.T, m *concord.Concord) *attacktest.Client {
	t.Helper()
	c, err := attacktest.Dial(m.Address(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// peer is an attacker that listens, as a member of that name; set fills in its answers.
func peer(t *testing.T, name string, incarnation uint64, set func(*attacktest.Peer)) *attacktest.Peer {
	t.Helper()
	return listen(t, cluster.Address(), nil, name, incarnation, set)
}

// listen is a peer at that address, with TLS if config is not nil.
func listen(t *testing.T, addr string, config *tls.Config, name string, incarnation uint64, set func(*attacktest.Peer)) *attacktest.Peer {
	t.Helper()
	p, err := attacktest.Listen(addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	p.Self = world.Server(name, p.Addr(), incarnation)
	if set != nil {
		set(p)
	}
	p.Serve()
	return p
}

// refused fails the test unless err is a refusal of that code, in those words.
func refused(t *testing.T, err error, code codes.Code, words string) {
	t.Helper()
	if st := status.Convert(err); err == nil || st.Code() != code || !strings.Contains(st.Message(), words) {
		t.Errorf("error %v; want %v with %q", err, code, words)
	}
}

// incoming and impossible are counters of what is refused.
func incoming(c concord.Counters) uint64   { return c.IncomingRefused }
func impossible(c concord.Counters) uint64 { return c.IncarnationsRefused }

// counted runs an attack and fails the test unless m counts at least so many refusals.
func (r *target) counted(m *concord.Concord, counter func(concord.Counters) uint64, times uint64, attack func()) {
	r.t.Helper()
	before := counter(m.Status().Counters)
	attack()
	r.await("refusals counted", func() bool { return counter(m.Status().Counters)-before >= times })
}

// logged waits for a line of the log of m with the words.
func (r *target) logged(m *concord.Concord, words string) {
	r.t.Helper()
	r.await(fmt.Sprintf("a line with %q", words), func() bool {
		for line := range strings.Lines(r.log.text()) {
			if strings.Contains(line, "member="+m.Name()+" ") && strings.Contains(line, words) {
				return true
			}
		}
		return false
	})
}

// journal is what all members of a ring log.
type journal struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.Write(b)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all.String()
}

// methods are all ways to ask a member something. Each makes a request from what may be
// forged.
var methods = []struct {
	name string
	ask  func(ctx context.Context, c *attacktest.Client, e *pb.Request, subject *pb.Server) error
}{
	{"FindSuccessor", func(ctx context.Context, c *attacktest.Client, e *pb.Request, _ *pb.Server) error {
		_, err := c.FindSuccessor(ctx, &pb.FindReq{Id: 1, Request: e})
		return err
	}},
	{"GetRing", func(ctx context.Context, c *attacktest.Client, e *pb.Request, _ *pb.Server) error {
		_, err := c.GetRing(ctx, &pb.RingReq{Request: e})
		return err
	}},
	{"Look", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.GetRing(ctx, &pb.RingReq{Request: e, Looking: true, Founder: s})
		return err
	}},
	{"Notify", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.Notify(ctx, &pb.NotifyReq{Id: s.GetId(), Name: s.GetName(), Address: s.GetAddress(), Incarnation: s.GetIncarnation(), Request: e})
		return err
	}},
	{"Notify of a joiner", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.Notify(ctx, &pb.NotifyReq{
			Id: s.GetId(), Name: s.GetName(), Address: s.GetAddress(), Incarnation: s.GetIncarnation(), Request: e, Joining: true,
		})
		return err
	}},
	{"Route", func(ctx context.Context, c *attacktest.Client, e *pb.Request, _ *pb.Server) error {
		_, err := c.Route(ctx, &pb.RouteReq{Id: 1, Request: e})
		return err
	}},
	{"Place", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.Place(ctx, &pb.PlaceReq{Subject: s, Request: e})
		return err
	}},
	{"Seek", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.Place(ctx, &pb.PlaceReq{Subject: s, Seek: true, Request: e})
		return err
	}},
	{"Introduce", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.Introduce(ctx, &pb.IntroduceReq{Subject: s, Request: e})
		return err
	}},
	{"Changed", func(ctx context.Context, c *attacktest.Client, e *pb.Request, _ *pb.Server) error {
		_, err := c.Changed(ctx, &pb.ChangedReq{Request: e})
		return err
	}},
	{"Leave", func(ctx context.Context, c *attacktest.Client, e *pb.Request, s *pb.Server) error {
		_, err := c.Leave(ctx, &pb.LeaveReq{Predecessor: s, Successors: []*pb.Server{s}, Request: e})
		return err
	}},
	{"Meta", func(ctx context.Context, c *attacktest.Client, e *pb.Request, _ *pb.Server) error {
		_, err := c.Meta(ctx, &pb.MetaReq{Request: e})
		return err
	}},
}

// named are the methods whose messages name a member beside the sender.
var named = map[string]bool{
	"Look": true, "Notify": true, "Notify of a joiner": true, "Place": true, "Seek": true, "Introduce": true, "Leave": true,
}

// narrowed makes the circle one of 16 bits.
func narrowed(_ int, cfg *concord.Config) { cfg.HashBits = 16 }

// withHeader adds a header of so many bytes to requests.
func withHeader(ctx context.Context, size int) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-large", strings.Repeat("x", size))
}

// hostOf is the host of host:port.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// productionLike is another ring of three, with names of its own and the same settings.
func productionLike(t *testing.T, prefix string) *cluster.Cluster {
	t.Helper()
	c := cluster.New(func(i int) concord.Config {
		return concord.Config{Name: fmt.Sprint(prefix, i), StabilizeInterval: interval}
	})
	t.Cleanup(c.Close)
	if _, err := c.AddMany(bounded(t, patience), 3); err != nil {
		t.Fatal(err)
	}
	return c
}

// near is a name of nobody that belongs just before m.
func (r *target) near(m *concord.Concord, prefix string) string {
	gap := concord.Range{Start: r.before(m).Id(), End: m.Id()}
	for i := 0; ; i++ {
		if x := world.Server(fmt.Sprint(prefix, "-", i), "", 0); gap.Contains(x.GetId()) {
			return x.GetName()
		}
	}
}
