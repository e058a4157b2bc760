package concord_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/ollelogdahl/concord"
)

// onePort tests applications whose ring the edits configure.
func onePort(t *testing.T, creds credentials.TransportCredentials, edits ...func(*concord.Config)) {
	apps, members := applicationRing(t, 3, edits...)
	for _, a := range apps {
		name := a.Name()
		a.answer = func(ctx context.Context, question string) (string, error) {
			p, _ := peer.FromContext(ctx)
			if _, ok := p.Addr.(*net.TCPAddr); !ok {
				return "", fmt.Errorf("the peer is at %T", p.Addr)
			}
			info, ok := p.AuthInfo.(credentials.TLSInfo)
			if secure := creds.Info().SecurityProtocol == "tls"; ok != secure || secure && len(info.State.VerifiedChains) == 0 {
				return "", fmt.Errorf("the peer is authenticated by %T", p.AuthInfo)
			}
			return name + " answers " + question, nil
		}
	}
	for _, a := range apps {
		for _, key := range []string{"apple", "pear", "plum", "quince"} {
			owner := lookup(t, a.Concord, key, concord.Fresh())
			if want := ownerOf(members, idOf(key)); owner != want {
				t.Errorf("%s: the owner of %s is %v, want %v", a.Name(), key, owner, want)
			}
			if got, err := call(t, connect(t, a, owner), key); err != nil || got != owner.Name+" answers "+key {
				t.Errorf("%s asks %s: %q, %v", a.Name(), owner.Name, got, err)
			}
		}
	}

	gone := apps[2]
	within(t, patience, "Stop", func() { gone.Stop() })
	awaitIdeal(t, members[:2])
	outside := stranger(t, gone.Address(), creds)
	if got, err := call(t, outside, "plum"); err != nil || got != "member3 answers plum" {
		t.Errorf("after Stop of its member the application answers %q, %v", got, err)
	}
	refuses(t, outside, "has stopped")

	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	join(t, gone.Concord, members[0].Address())
	awaitIdeal(t, members)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := gone.Leave(ctx); err != nil {
		t.Error(err)
	}
	awaitIdeal(t, members[:2])
	if got, err := call(t, outside, "plum"); err != nil || got != "member3 answers plum" {
		t.Errorf("after Leave of its member the application answers %q, %v", got, err)
	}
	within(t, patience, "GracefulStop", gone.server.GracefulStop)
}

// refuses fails the test unless the member at the other end refuses a question in words.
func refuses(t *testing.T, conn grpc.ClientConnInterface, words string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := conn.Invoke(ctx, "/concord.ChordService/GetRing", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), words) {
		t.Errorf("a question to the member gives %v, want Unavailable and %q", err, words)
	}
}

func TestServiceAndMemberShareAPort(t *testing.T) {
	t.Parallel()
	onePort(t, insecure.NewCredentials())
}

func TestServiceAndMemberShareAPortWithTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	leaf := a.issue(t)
	onePort(t, credentials.NewTLS(a.mutual(leaf, leaf).Client), func(c *concord.Config) { c.TLS = a.mutual(leaf, leaf) })
}

// On a server of the application certificates prove the same as on a member's own.
func TestNameThatIsNotInTheCertificateIsDeniedOnOnePort(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	secure := func(name string) func(*concord.Config) {
		leaf := a.issue(t, uris("concord:///"+name))
		return func(c *concord.Config) { c.TLS = a.mutual(leaf, leaf) }
	}
	first := startApplication(t, "member1", secure("member1"))
	if err := first.Create(); err != nil {
		t.Fatal(err)
	}
	second := startApplication(t, "member2", secure("member2"))
	join(t, second.Concord, first.Address())
	members := []*concord.Concord{first.Concord, second.Concord}
	awaitIdeal(t, members)
	impostor := startApplication(t, "member3", secure("other"))
	mentions(t, deniedJoin(t, members, impostor.Concord), "denies this side", "member3")
	_, err := call(t, connect(t, first, serverOf(impostor.Concord)), "who")
	wantErr(t, "a call to the impostor", err, concord.ErrDenied)
}

func TestRegisterRefusesInWords(t *testing.T) {
	t.Parallel()
	fresh := func() *concord.Concord {
		return concord.New(configure("member2", func(c *concord.Config) { c.BindAddr, c.AdvAddr = "", "127.0.0.1:7946" }))
	}
	a := newApplication(t, "member1", nil)
	other := fresh()
	other.ServerOptions()
	late := fresh()
	serving := grpc.NewServer(late.ServerOptions()...)
	defer serving.Stop()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serving.Serve(lis) //nolint:errcheck // it ends with the test
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil { // its settings
		t.Fatal(err)
	}
	started := start(t, "member3")
	started.ServerOptions()
	for _, tc := range []struct {
		what, words string
		err         error
	}{
		{"without the options", "ServerOptions", fresh().Register(grpc.NewServer())},
		{"twice", "registered already", a.Register(grpc.NewServer())},
		{"two members on a server", "a member already", other.Register(a.server)},
		{"after Serve", "serves already", late.Register(serving)},
		{"after Start", "already started", started.Register(grpc.NewServer())},
		{"after Start, without the options", "already started", start(t, "member4").Register(grpc.NewServer())},
	} {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.words) {
			t.Errorf("%s: %v, want %q", tc.what, tc.err, tc.words)
		}
	}
}

func TestConfigOfRegisteredMember(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		what, field string
		edit        func(*concord.Config)
	}{
		{"an address to listen on", "BindAddr", func(c *concord.Config) { c.BindAddr = "127.0.0.1:0" }},
		{"no address", "AdvAddr", func(c *concord.Config) { c.AdvAddr = "" }},
		{"port 0", "AdvAddr", func(c *concord.Config) { c.AdvAddr = "127.0.0.1:0" }},
		{"a wildcard", "AdvAddr", func(c *concord.Config) { c.AdvAddr = "0.0.0.0:7946" }},
	} {
		cfg := configure("member1", func(c *concord.Config) { c.BindAddr, c.AdvAddr = "", "127.0.0.1:7946" }, tc.edit)
		c := concord.New(cfg)
		if err := c.Register(grpc.NewServer()); err == nil {
			t.Error("registered before the options were asked for")
		}
		if err := c.Register(grpc.NewServer(c.ServerOptions()...)); err != nil {
			t.Fatal(err)
		}
		err := c.Start()
		if e, ok := errors.AsType[*concord.ConfigError](err); !ok || e.Field != tc.field {
			t.Errorf("%s: %v, want an error of %s", tc.what, err, tc.field)
		}
		c.Stop()
	}
}

func TestServerWithoutOptionsOfItsMemberRefuses(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := concord.New(configure("member1", func(c *concord.Config) { c.BindAddr, c.AdvAddr = "", lis.Addr().String() }))
	c.ServerOptions()
	server := grpc.NewServer()
	defer server.Stop()
	if err := c.Register(server); err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(lis) })
	defer serving.Wait()
	defer server.Stop()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	refuses(t, stranger(t, c.Address(), insecure.NewCredentials()), "without the options")
	if c.Status().Counters.IncomingRefused == 0 {
		t.Error("the refusal is not counted")
	}
}

func TestMemberThatHasNotStartedRefuses(t *testing.T) {
	t.Parallel()
	a := newApplication(t, "member1", nil)
	a.serve()
	outside := stranger(t, a.Address(), insecure.NewCredentials())
	refuses(t, outside, "has not started")
	if got, err := call(t, outside, "who"); err != nil || got != "member1" {
		t.Errorf("the application answers %q, %v", got, err)
	}
	joiner := startApplication(t, "member2")
	joined := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		joined <- joiner.Join(ctx, a.Address())
	}()
	eventually(t, func() error {
		if joiner.Status().Counters.JoinRetries == 0 {
			return errors.New("no attempt to join has failed")
		}
		return nil
	})
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if err := a.Create(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, joined, patience, "Join"); err != nil {
		t.Error(err)
	}
}

// hangUp ends each connection to the listener at once, until stop is called: nobody serves
// there yet, and the port is kept.
func hangUp(t *testing.T, lis net.Listener) (stop func()) {
	t.Helper()
	tcp, ok := lis.(*net.TCPListener)
	if !ok {
		t.Fatalf("a listener of type %T", lis)
	}
	var at sync.WaitGroup
	at.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	})
	return func() {
		_ = tcp.SetDeadline(time.Unix(1, 0))
		at.Wait()
		_ = tcp.SetDeadline(time.Time{})
	}
}

func TestJoinWaitsForServe(t *testing.T) {
	t.Parallel()
	first := startApplication(t, "member1")
	if err := first.Create(); err != nil {
		t.Fatal(err)
	}
	late := newApplication(t, "member2", nil)
	stop := hangUp(t, late.lis)
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	joined := make(chan error, 1)
	go func() { joined <- late.Join(ctx, first.Address()) }()
	failsTwice(t, late.Concord) // which would be final otherwise
	stop()
	late.serve()
	if err := receive(t, joined, patience, "Join"); err != nil {
		t.Fatal(err)
	}
	awaitIdeal(t, []*concord.Concord{first.Concord, late.Concord})
}

// failsTwice waits until two attempts of c to join have failed.
func failsTwice(t *testing.T, c *concord.Concord) {
	t.Helper()
	eventually(t, func() error {
		if n := c.Status().Counters.JoinRetries; n < 2 {
			return fmt.Errorf("%d attempts have failed", n)
		}
		return nil
	})
}

func TestJoinSaysThatTheServerDoesNotServe(t *testing.T) {
	t.Parallel()
	first := startApplication(t, "member1")
	if err := first.Create(); err != nil {
		t.Fatal(err)
	}
	late := newApplication(t, "member2", nil)
	defer hangUp(t, late.lis)()
	if err := late.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	joined := make(chan error, 1)
	go func() { joined <- late.Join(ctx, first.Address()) }()
	failsTwice(t, late.Concord)
	cancel()
	err := receive(t, joined, patience, "Join")
	wantErr(t, "Join", err, context.Canceled, concord.ErrNotReachable)
	mentions(t, err, "does that serve?")
}

// Whichever way the application stops its server first, nobody hangs: the ring heals, and
// the member stops as otherwise.
func TestApplicationStopsItsServerFirst(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		stop func(*grpc.Server)
	}{
		{"Stop", (*grpc.Server).Stop}, {"GracefulStop", (*grpc.Server).GracefulStop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			apps, members := applicationRing(t, 3)
			for _, a := range apps { // so that there are streams from everybody to everybody
				for _, b := range members {
					if _, err := a.Concord.Meta(t.Context(), serverOf(b)); err != nil {
						t.Fatal(err)
					}
				}
			}
			within(t, patience, tc.name, func() { tc.stop(apps[2].server) })
			awaitIdeal(t, members[:2])
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			within(t, patience, "Leave", func() { _ = apps[2].Leave(ctx) })
		})
	}
}

// An application on whose server interceptors refuse what they do not know.
func TestInterceptorsDoNotKeepMembersApart(t *testing.T) {
	t.Parallel()
	no := status.Error(codes.Unauthenticated, "no token")
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) { return nil, no }),
		grpc.StreamInterceptor(func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error { return no }),
	}
	var members []*concord.Concord
	for i := range 3 {
		a := newApplication(t, fmt.Sprintf("member%d", i+1), options)
		a.serve()
		if err := a.Start(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			join(t, a.Concord, members[0].Address())
		} else if err := a.Create(); err != nil {
			t.Fatal(err)
		}
		members = append(members, a.Concord)
	}
	awaitIdeal(t, members)
	for _, c := range members {
		if got, want := lookup(t, c, "apple", concord.Fresh()), ownerOf(members, idOf("apple")); got != want {
			t.Errorf("%s names %v, want %v", c.Name(), got, want)
		}
	}
}

func TestLegacyMembersAndMembersOfApplications(t *testing.T) {
	t.Parallel()
	first := startApplication(t, "member1")
	if err := first.Create(); err != nil {
		t.Fatal(err)
	}
	legacy := legacyMember(t, "legacy")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := legacy.Join(ctx, first.Address()); err != nil {
		t.Fatal(err)
	}
	second := startApplication(t, "member2")
	join(t, second.Concord, first.Address())
	eventually(t, func() error {
		for _, a := range []*application{first, second} {
			if s := a.Successors(); len(s) != 2 {
				return fmt.Errorf("%s has the successors %v", a.Name(), s)
			}
		}
		return nil
	})
	// Who is a legacy member cannot be told from its answers, but that it is one can.
	if _, err := call(t, connect(t, first, concord.Server{Name: "legacy", Id: idOf("legacy"), Address: legacy.Self().Addr}), "who"); status.Code(err) != codes.Unimplemented {
		t.Errorf("a legacy member has no application, and its answer is %v", err)
	}
}
