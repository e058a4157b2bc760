package concord_test

// The samples of README.md and docs/USAGE.md, as they stand there. Each sample is a
// function. A test sets its addresses, because the samples' host names do not resolve
// here. The sample that creates a ring runs in a process of its own, unchanged.

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"hash/fnv"
	"log"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/ollelogdahl/concord"
)

const sampleVariable = "CONCORD_TEST_SAMPLE"

func init() {
	switch os.Getenv(sampleVariable) {
	case "":
		return
	case "create":
		createSample()
	}
	os.Exit(0)
}

func createSample() {
	// Configure the node
	config := concord.Config{
		Name:     "node1",
		BindAddr: "0.0.0.0:7946",
		AdvAddr:  "node1.example.com:7946",
		// Even shares of the keys. Each of its 16 ranges is told of below.
		VirtualNodes: 16,
		OnRangeChange: func(r concord.Range) {
			log.Printf("Range changed: %d-%d", r.Start, r.End)
		},
	}

	// Create and start the node
	node := concord.New(config)
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	defer node.Stop()

	// Create a new cluster
	if err := node.Create(); err != nil {
		log.Fatal(err)
	}

	log.Printf("Node %s (ID: %d) created cluster", node.Name(), node.Id())
}

// joinSample differs from the sample in its addresses only.
func joinSample(bind, adv, via string) {
	config := concord.Config{
		Name:         "node2",
		BindAddr:     bind,
		AdvAddr:      adv,
		VirtualNodes: 16,
	}

	node := concord.New(config)
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	defer node.Stop()

	// Join an existing cluster
	ctx := context.Background()
	if err := node.Join(ctx, via); err != nil {
		log.Fatal(err)
	}

	log.Printf("Node %s joined cluster", node.Name())
}

// quickSample is the sample of README.md, in a function that the sample is the body of, but for its
// addresses.
func quickSample(ctx context.Context, listen, reach, via string) error {
	node := concord.New(concord.Config{
		Name:         "node2", // unique in the ring
		BindAddr:     listen,  // where it listens
		AdvAddr:      reach,   // where the other members reach it
		VirtualNodes: 16,      // even shares
	})
	if err := node.Start(); err != nil { // reports every mistake in the Config
		return err
	}
	defer node.Leave(context.Background())
	if err := node.Join(ctx, via); err != nil { // the first member calls Create
		return err
	}
	server, err := node.Lookup([]byte("my-key"))
	if err != nil {
		return err
	}
	log.Print(server.Name, " at ", server.Address)
	return nil
}

// clientSample differs from the sample in its address only.
func clientSample(ctx context.Context, via string) (concord.Server, error) {
	client, err := concord.Dial(ctx, concord.ClientConfig{}, via)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	server, err := client.Lookup([]byte("my-key"))
	return server, err
}

// ringSample differs from the sample in what it does with the error.
func ringSample(ctx context.Context, client *concord.Client, changed func(concord.RingChange)) error {
	for changes, err := range client.WatchRing(ctx) {
		if err != nil {
			return err // ctx has ended, or no member tells it
		}
		for _, c := range changes {
			changed(c) // a range has come, changed or gone: it is known by c.Server and its End
		}
	}
	return nil
}

func lookupSample(node *concord.Concord) {
	// Lookup which node is responsible for a key
	key := []byte("my-key")
	server, err := node.Lookup(key)
	if err != nil {
		log.Fatal(err)
	}

	log.Printf("Key is managed by node %s (ID: %d) at %s",
		server.Name, server.Id, server.Address)
}

func rangeSample(migrateData func(concord.Range)) concord.Config {
	config := concord.Config{
		Name:     "node1",
		BindAddr: "0.0.0.0:7946",
		AdvAddr:  "node1.example.com:7946",
		OnRangeChange: func(r concord.Range) {
			log.Printf("Now responsible for range (%d, %d]", r.Start, r.End)

			// Migrate data, update local state, etc.
			migrateData(r)
		},
	}
	return config
}

func serveSample(ctx context.Context, node *concord.Concord, key []byte,
	copyFrom func(context.Context, []concord.Server, concord.Range) error, forgetLater func(concord.Range), write func([]byte, uint64),
) {
	service := node.Serve(ctx, concord.Handler{
		Take: func(ctx context.Context, gained concord.Range, from []concord.Server, epoch uint64) error {
			return copyFrom(ctx, from, gained) // called again if it fails
		},
		Release: func(ctx context.Context, lost concord.Range, to []concord.Server, epoch uint64) {
			forgetLater(lost) // whoever takes it over may copy it now
		},
	})
	if epoch, ok := service.Serves(key); ok {
		write(key, epoch) // a store that refuses lesser epochs is safe from former owners
	}
}

func customHash(data []byte) uint64 {
	h := fnv.New32a()
	h.Write(data)
	return uint64(h.Sum32())
}

func hashSample() concord.Config {
	config := concord.Config{
		Name:     "node1",
		BindAddr: "0.0.0.0:7946",
		AdvAddr:  "node1.example.com:7946",
		HashFunc: customHash,
		HashBits: 32,
	}
	return config
}

func logSample() concord.Config {
	config := concord.Config{
		Name:     "node1",
		BindAddr: "0.0.0.0:7946",
		AdvAddr:  "node1.example.com:7946",
		LogHandler: slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{
			Level: slog.LevelDebug,
		}),
	}
	return config
}

func successorSample() concord.Config {
	config := concord.Config{
		Name:           "node1",
		BindAddr:       "0.0.0.0:7946",
		AdvAddr:        "node1.example.com:7946",
		SuccessorCount: 5,
	}
	return config
}

func mtlsSample() concord.Config {
	// Load certificates and CA
	cert, err := tls.LoadX509KeyPair("node_1.pem", "node_1_key.pem")
	if err != nil {
		log.Fatal(err)
	}

	caPool := x509.NewCertPool()
	caPEM, err := os.ReadFile("ca_pool.pem")
	if err != nil {
		log.Fatal(err)
	}
	caPool.AppendCertsFromPEM(caPEM)

	serverTLS := &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientCAs:    caPool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		MinVersion:   tls.VersionTLS13,
	}

	clientTLS := &tls.Config{
		Certificates: []tls.Certificate{cert},
		RootCAs:      caPool,
		MinVersion:   tls.VersionTLS13,
	}

	config := concord.Config{
		Name:     "node1",
		BindAddr: "0.0.0.0:7946",
		AdvAddr:  "node1.example.com:7946",
		TLS: &concord.TLSConfig{
			Server: serverTLS,
			Client: clientTLS,
		},
	}
	return config
}

func portSample(listener net.Listener, reach string, registerServices func(grpc.ServiceRegistrar)) (*concord.Concord, *grpc.Server) {
	node := concord.New(concord.Config{
		Name:    "node2",
		AdvAddr: reach, // where others reach the listener; no BindAddr
	})
	server := grpc.NewServer(node.ServerOptions()...) // your own options follow these
	registerServices(server)
	if err := node.Register(server); err != nil { // before Serve
		log.Fatal(err)
	}
	go server.Serve(listener)
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	return node, server
}

func connSample(ctx context.Context, node *concord.Concord) error {
	owner, err := node.Lookup([]byte("my-key"))
	if err != nil {
		return err
	}
	conn, err := node.Conn(owner)
	if err != nil {
		return err
	}
	client := grpc_health_v1.NewHealthClient(conn)
	reply, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err == nil && reply.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		err = errors.New(reply.GetStatus().String())
	}
	return err
}

func TestSamplesOfOnePort(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node, server := portSample(lis, lis.Addr().String(), func(s grpc.ServiceRegistrar) {
		grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	})
	defer server.Stop()
	defer node.Stop()
	if err := node.Create(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := connSample(ctx, node); err != nil {
		t.Error(err)
	}
}

// TestSamplesOfTheDocumentsAreCompiled holds every block of Go code in the documents to
// this file, line by line, white space aside. The samples whose addresses are arguments
// are given those of the documents before the lines are compared.
func TestSamplesOfTheDocumentsAreCompiled(t *testing.T) {
	code, err := os.ReadFile("samples_ext_test.go")
	if err != nil {
		t.Fatal(err)
	}
	squeezed := func(text string) string {
		text = regexp.MustCompile(`[\t ]+`).ReplaceAllString(text, " ")
		return regexp.MustCompile(`(?m)^ `).ReplaceAllString(text, "")
	}
	compiled := strings.NewReplacer(
		"BindAddr: bind,", `BindAddr: "0.0.0.0:7947",`,
		"AdvAddr: adv,", `AdvAddr: "node2.example.com:7947",`,
		"BindAddr: listen,", `BindAddr: "0.0.0.0:7946",`,
		"AdvAddr: reach,", `AdvAddr: "node2.example.com:7946",`,
		", via)", `, "node1.example.com:7946")`,
	).Replace(squeezed(string(code)))
	for file, least := range map[string]int{"README.md": 1, "docs/USAGE.md": 10} {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
		if len(blocks) < least {
			t.Errorf("%s has %d samples, want at least %d", file, len(blocks), least)
		}
		for _, b := range blocks {
			if !strings.Contains(compiled, squeezed(b[1])) {
				t.Errorf("this sample of %s is not in samples_ext_test.go:\n%s", file, b[1])
			}
		}
	}
}

// captureLog collects what the standard logger is given until the test ends.
func captureLog(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	old := log.Writer()
	log.SetOutput(&b)
	t.Cleanup(func() { log.SetOutput(old) })
	return &b
}

// onLoopback gives a sample's configuration addresses that lead somewhere, and
// another name if one is given.
func onLoopback(cfg concord.Config, name string) concord.Config {
	cfg.BindAddr, cfg.AdvAddr = "127.0.0.1:0", ""
	if name != "" {
		cfg.Name = name
	}
	return cfg
}

// run starts a member made of exactly this configuration.
func run(t *testing.T, cfg concord.Config) *concord.Concord {
	t.Helper()
	c := concord.New(cfg)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

func TestCreatingSampleRunsAsItStands(t *testing.T) {
	t.Parallel() // it waits for half a minute, since nobody answers at its address
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), sampleVariable+"=create", "GOCOVERDIR="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "address already in use") {
		t.Skip("the sample's port is in use")
	}
	if err != nil || !strings.Contains(string(out), "Node node1 (ID: ") || !strings.Contains(string(out), "created cluster") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestJoiningAndLookupSamples(t *testing.T) {
	via := create(t, "node1")
	out := captureLog(t)
	joinSample("127.0.0.1:0", "127.0.0.1:0", via.Address())
	lookupSample(via)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := quickSample(ctx, "127.0.0.1:0", "127.0.0.1:0", via.Address()); err != nil {
		t.Errorf("README.md: %v", err)
	}
	if s, err := clientSample(ctx, via.Address()); err != nil || !strings.HasPrefix(s.Name, "node") {
		t.Errorf("a client: %v, %v", s, err)
	}
	for _, want := range []string{"Node node2 joined cluster", "Key is managed by node node", " at 127.0.0.1:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q not in %q", want, out)
		}
	}
}

// The sample yields the members that there are, and ends with its context.
func TestRingSample(t *testing.T) {
	via := create(t, "node1")
	client, err := concord.Dial(t.Context(), concord.ClientConfig{}, via.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var names []string
	err = ringSample(ctx, client, func(c concord.RingChange) {
		names = append(names, c.Server.Name)
		cancel()
	})
	if !errors.Is(err, context.Canceled) || len(names) != 1 || names[0] != "node1" {
		t.Errorf("%q, %v", names, err)
	}
}

func TestRangeSample(t *testing.T) {
	captureLog(t)
	migrated := make(chan concord.Range, 1)
	c := run(t, onLoopback(rangeSample(func(r concord.Range) { migrated <- r }), ""))
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	want := concord.Range{Start: c.Id(), End: c.Id()}
	if got := receive(t, migrated, patience, "the call"); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if c.Stop(); len(migrated) > 0 {
		t.Error("called again")
	}
}

func TestServeSampleTakesTheRange(t *testing.T) {
	c := create(t, "node1")
	taken := make(chan concord.Range, 1)
	serveSample(t.Context(), c, nil, func(_ context.Context, from []concord.Server, r concord.Range) error {
		if len(from) > 0 {
			t.Errorf("a ring of one is to copy from %v", from)
		}
		taken <- r
		return nil
	}, func(r concord.Range) { t.Errorf("dropped %v", r) }, func([]byte, uint64) {})
	if got := receive(t, taken, patience, "Take"); got != c.Range() {
		t.Errorf("took %v of %v", got, c.Range())
	}
	c.Stop()
}

func TestHashSampleMakesRingOfThree(t *testing.T) {
	members := []*concord.Concord{run(t, onLoopback(hashSample(), ""))}
	if err := members[0].Create(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"node2", "node3"} {
		c := run(t, onLoopback(hashSample(), name))
		join(t, c, members[0].Address())
		members = append(members, c)
	}
	awaitIdeal(t, members)
	for _, c := range members {
		if want := customHash([]byte(c.Name())); c.Id() != want {
			t.Errorf("%s: identifier %d, want %d", c.Name(), c.Id(), want)
		}
		for _, key := range []string{"my-key", "a", "b", "c", "node1", "node3"} {
			if got, want := lookup(t, c, key), ownerOf(members, customHash([]byte(key))); got != want {
				t.Errorf("%s: %q: %v, want %v", c.Name(), key, got, want)
			}
		}
	}
}

func TestLogSampleWritesChangesOfState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = f
	cfg := logSample()
	os.Stdout = stdout
	c := run(t, onLoopback(cfg, ""))
	if err := c.Create(); err != nil {
		t.Fatal(err)
	}
	c.Stop()
	f.Close()
	out, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"msg":"range changed"`, `"member":"node1"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

func TestSuccessorSampleKeepsFive(t *testing.T) {
	members := []*concord.Concord{run(t, onLoopback(successorSample(), ""))}
	if err := members[0].Create(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		cfg := onLoopback(successorSample(), name)
		cfg.StabilizeInterval = 200 * time.Millisecond
		c := run(t, cfg)
		join(t, c, members[0].Address())
		members = append(members, c)
	}
	awaitIdeal(t, members, 5)
}
