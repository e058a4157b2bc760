package concord_test

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
)

// fields are those that err complains of, in order.
func fields(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		if ce, ok := err.(*concord.ConfigError); ok {
			out = append(out, ce.Field)
			return
		}
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	slices.Sort(out)
	return out
}

func TestStartReportsEveryMistakeWithItsField(t *testing.T) {
	cert := []tls.Certificate{{Certificate: [][]byte{{1}}}}
	server := func(edit func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: cert, ClientAuth: tls.RequireAndVerifyClientCert}
		edit(c)
		return c
	}
	client := func(edit func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: cert}
		edit(c)
		return c
	}
	fine := func(*tls.Config) {}
	for what, tc := range map[string]struct {
		edit func(*concord.Config)
		want []string
	}{
		"many connections":          {func(c *concord.Config) { c.Limits.Connections = 1<<20 + 1 }, []string{"Limits.Connections"}},
		"many of one host":          {func(c *concord.Config) { c.Limits.ConnectionsPerHost = 1<<20 + 1 }, []string{"Limits.ConnectionsPerHost"}},
		"many streams":              {func(c *concord.Config) { c.Limits.Streams = 1<<12 + 1 }, []string{"Limits.Streams"}},
		"no name":                   {func(c *concord.Config) { c.Name = "" }, []string{"Name"}},
		"long name":                 {func(c *concord.Config) { c.Name = strings.Repeat("n", 256) }, []string{"Name"}},
		"name not UTF-8":            {func(c *concord.Config) { c.Name = "a\xff" }, []string{"Name"}},
		"no bind address":           {func(c *concord.Config) { c.BindAddr = "" }, []string{"BindAddr"}},
		"bind address without port": {func(c *concord.Config) { c.BindAddr = "127.0.0.1" }, []string{"BindAddr"}},
		"bind port too great":       {func(c *concord.Config) { c.BindAddr = "127.0.0.1:65536" }, []string{"BindAddr"}},
		"bind port negative":        {func(c *concord.Config) { c.BindAddr = "127.0.0.1:-1" }, []string{"BindAddr"}},
		"bind port no number":       {func(c *concord.Config) { c.BindAddr = "127.0.0.1:port" }, []string{"BindAddr"}},
		"bind port empty":           {func(c *concord.Config) { c.BindAddr = "127.0.0.1:" }, []string{"BindAddr"}},
		"bind address IPv6 bare":    {func(c *concord.Config) { c.BindAddr = "::1:80" }, []string{"BindAddr"}},
		"bind host not ours":        {func(c *concord.Config) { c.BindAddr = "192.0.2.1:0" }, []string{"BindAddr"}},
		"adv without port":          {func(c *concord.Config) { c.AdvAddr = "127.0.0.1" }, []string{"AdvAddr"}},
		"adv port too great":        {func(c *concord.Config) { c.AdvAddr = "127.0.0.1:70000" }, []string{"AdvAddr"}},
		"adv wildcard":              {func(c *concord.Config) { c.AdvAddr = "0.0.0.0:7946" }, []string{"AdvAddr"}},
		"adv wildcard IPv6":         {func(c *concord.Config) { c.AdvAddr = "[::]:7946" }, []string{"AdvAddr"}},
		"adv without host":          {func(c *concord.Config) { c.AdvAddr = ":7946" }, []string{"AdvAddr"}},
		"adv too long":              {func(c *concord.Config) { c.AdvAddr = strings.Repeat("a", 300) + ":1" }, []string{"AdvAddr"}},
		"bind wildcard, adv empty":  {func(c *concord.Config) { c.BindAddr = "0.0.0.0:0" }, []string{"AdvAddr"}},
		"bind no host, adv empty":   {func(c *concord.Config) { c.BindAddr = ":0" }, []string{"AdvAddr"}},
		"bind IPv6 any, adv empty":  {func(c *concord.Config) { c.BindAddr = "[::]:0" }, []string{"AdvAddr"}},
		"long zone":                 {func(c *concord.Config) { c.Zone = strings.Repeat("z", 65) }, []string{"Zone"}},
		"zone does not print":       {func(c *concord.Config) { c.Zone = "a\tb" }, []string{"Zone"}},
		"zone not UTF-8":            {func(c *concord.Config) { c.Zone = "a\xff" }, []string{"Zone"}},
		"65 bits":                   {func(c *concord.Config) { c.HashBits = 65 }, []string{"HashBits"}},
		"very many bits":            {func(c *concord.Config) { c.HashBits = ^uint(0) }, []string{"HashBits"}},
		"65 successors":             {func(c *concord.Config) { c.SuccessorCount = 65 }, []string{"SuccessorCount"}},
		"interval negative":         {func(c *concord.Config) { c.StabilizeInterval = -1 }, []string{"StabilizeInterval"}},
		"interval too short":        {func(c *concord.Config) { c.StabilizeInterval = 9 * time.Millisecond }, []string{"StabilizeInterval"}},
		"too many members wanted":   {func(c *concord.Config) { c.MinMembers = 5 }, []string{"MinMembers"}},
		"lease negative":            {func(c *concord.Config) { c.Lease = -1 }, []string{"Lease"}},
		"lease too short":           {func(c *concord.Config) { c.Lease, c.StabilizeInterval = 7*time.Second-1, time.Second }, []string{"Lease"}},
		"lease too short for lists": {func(c *concord.Config) {
			c.Lease, c.SuccessorCount, c.StabilizeInterval = 7*time.Second, 4, time.Second
		}, []string{"Lease"}},
		"lease too long":        {func(c *concord.Config) { c.Lease = 24*time.Hour + 1 }, []string{"Lease"}},
		"found after negative":  {func(c *concord.Config) { c.FoundAfter = -1 }, []string{"FoundAfter"}},
		"found after too short": {func(c *concord.Config) { c.FoundAfter = 99 * time.Millisecond }, []string{"FoundAfter"}},
		"TLS empty":             {func(c *concord.Config) { c.TLS = &concord.TLSConfig{} }, []string{"TLS.Client", "TLS.Server"}},
		"TLS without server":    {func(c *concord.Config) { c.TLS = &concord.TLSConfig{Client: client(fine)} }, []string{"TLS.Server"}},
		"TLS without client":    {func(c *concord.Config) { c.TLS = &concord.TLSConfig{Server: server(fine)} }, []string{"TLS.Client"}},
		"TLS without certificates": {func(c *concord.Config) {
			c.TLS = &concord.TLSConfig{Server: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert}, Client: &tls.Config{}}
		}, []string{"TLS.Client", "TLS.Server"}},
		"TLS that asks for no certificate": {func(c *concord.Config) {
			c.TLS = &concord.TLSConfig{Server: server(func(s *tls.Config) { s.ClientAuth = tls.NoClientCert }), Client: client(fine)}
		}, []string{"TLS.Server"}},
		"TLS that takes any certificate": {func(c *concord.Config) {
			c.TLS = &concord.TLSConfig{Server: server(func(s *tls.Config) { s.ClientAuth = tls.RequireAnyClientCert }), Client: client(fine)}
		}, []string{"TLS.Server"}},
		"TLS that verifies if given": {func(c *concord.Config) {
			c.TLS = &concord.TLSConfig{Server: server(func(s *tls.Config) { s.ClientAuth = tls.VerifyClientCertIfGiven }), Client: client(fine)}
		}, []string{"TLS.Server"}},
		"TLS that verifies nothing": {func(c *concord.Config) {
			c.TLS = &concord.TLSConfig{Server: server(fine), Client: client(func(k *tls.Config) { k.InsecureSkipVerify = true })}
		}, []string{"TLS.Client"}},
		"everything": {func(c *concord.Config) {
			*c = concord.Config{BindAddr: "x", AdvAddr: "y", HashBits: 99, SuccessorCount: 99, StabilizeInterval: -time.Second,
				TLS: &concord.TLSConfig{Server: &tls.Config{}, Client: &tls.Config{InsecureSkipVerify: true}}}
		}, []string{"AdvAddr", "BindAddr", "HashBits", "Name", "StabilizeInterval", "SuccessorCount",
			"TLS.Client", "TLS.Client", "TLS.Server", "TLS.Server"}},
	} {
		t.Run(what, func(t *testing.T) {
			c := concord.New(configure("node", tc.edit))
			err := c.Start()
			defer c.Stop()
			if got := fields(err); !slices.Equal(got, tc.want) {
				t.Fatalf("fields %q, want %q: %v", got, tc.want, err)
			}
			var ce *concord.ConfigError
			if !errors.As(err, &ce) || ce.Err == nil {
				t.Fatalf("no *ConfigError: %v", err)
			}
			for _, field := range tc.want {
				if !strings.Contains(err.Error(), "Config."+field) {
					t.Errorf("%q does not name %s", err, field)
				}
			}
			wantErr(t, "Create", c.Create(), concord.ErrNotStarted)
		})
	}
}

func TestConfigAtItsBoundsStarts(t *testing.T) {
	for what, edit := range map[string]func(*concord.Config){
		"longest name":     func(c *concord.Config) { c.Name = strings.Repeat("n", 255) },
		"1 bit":            func(c *concord.Config) { c.HashBits = 1 },
		"64 bits":          func(c *concord.Config) { c.HashBits = 64 },
		"1 successor":      func(c *concord.Config) { c.SuccessorCount = 1 },
		"64 successors":    func(c *concord.Config) { c.SuccessorCount = 64 },
		"10 ms":            func(c *concord.Config) { c.StabilizeInterval = 10 * time.Millisecond },
		"long interval":    func(c *concord.Config) { c.StabilizeInterval = 1<<63 - 1 },
		"name of any kind": func(c *concord.Config) { c.Name = "a b/ö\n\x00" },
		"cluster":          func(c *concord.Config) { c.Cluster = strings.Repeat("c", 10000) },
	} {
		t.Run(what, func(t *testing.T) {
			c := create(t, "node", edit)
			d := start(t, "other", edit, func(c *concord.Config) { c.Name = "other" })
			if what == "1 bit" && c.Id() == d.Id() {
				t.Skip("names of one identifier")
			}
			join(t, d, c.Address())
			for _, m := range []*concord.Concord{c, d} {
				if got, want := lookup(t, m, "k"), ownerOf([]*concord.Concord{c, d}, concord.New(configure("k", edit, func(c *concord.Config) { c.Name = "k" })).Id()); got != want {
					t.Errorf("%v, want %v", got, want)
				}
			}
		})
	}
}

func TestNewNeverFails(t *testing.T) {
	for _, cfg := range []concord.Config{
		{},
		{HashBits: 65},
		{HashBits: ^uint(0), SuccessorCount: ^uint(0), StabilizeInterval: -1, TLS: &concord.TLSConfig{}},
		{Name: strings.Repeat("x", 1<<20), BindAddr: "\x00", AdvAddr: "\x00"},
	} {
		c := concord.New(cfg)
		if c.Name() != cfg.Name {
			t.Error("name lost")
		}
		_ = c.Id()
		c.Status()
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if err := c.Start(); err == nil {
			t.Error("started")
		}
	}
}

func TestConfigIsCopied(t *testing.T) {
	cfg := configure("node")
	c := concord.New(cfg)
	cfg.Name = "other"
	if c.Name() != "node" || c.Id() != idOf("node") {
		t.Errorf("%s %d", c.Name(), c.Id())
	}
}

func TestIdentifierIsLowBitsOfHash(t *testing.T) {
	const whole = 0xca12f31b8cbf5f29 // the first 8 bytes of the SHA-256 of "node1"
	sum := idOf("node1")
	for bits := uint(1); bits <= 64; bits++ {
		c := concord.New(concord.Config{Name: "node1", HashBits: bits})
		if want := sum & (^uint64(0) >> (64 - bits)); c.Id() != want {
			t.Errorf("%d bits: %x, want %x", bits, c.Id(), want)
		}
		custom := concord.New(concord.Config{Name: "node1", HashBits: bits, HashFunc: func([]byte) uint64 { return ^uint64(0) }})
		if want := ^uint64(0) >> (64 - bits); custom.Id() != want {
			t.Errorf("%d bits of a custom hash: %x, want %x", bits, custom.Id(), want)
		}
	}
	if sum != whole {
		t.Errorf("%x, want %x", sum, uint64(whole))
	}
}

func TestRingsOfAnyWidth(t *testing.T) {
	for _, bits := range []uint{1, 2, 3, 7, 8, 16, 31, 32, 33, 63, 64} {
		narrow := func(c *concord.Config) { c.HashBits = bits }
		var members []*concord.Concord
		taken := map[uint64]bool{}
		for i := 0; len(members) < min(1<<min(bits, 4), 4); i++ {
			name := "m" + strings.Repeat("'", i)
			id := concord.New(concord.Config{Name: name, HashBits: bits}).Id()
			if taken[id] {
				continue
			}
			taken[id] = true
			c := start(t, name, narrow)
			if len(members) == 0 {
				if err := c.Create(); err != nil {
					t.Fatal(err)
				}
			} else {
				join(t, c, members[0].Address())
			}
			members = append(members, c)
		}
		awaitIdeal(t, members)
		for _, c := range members {
			for _, key := range []string{"", "a", "b", "c", "d", "e", "f", "m", "m'"} {
				id := concord.New(concord.Config{Name: key, HashBits: bits}).Id()
				if got, want := lookup(t, c, key), ownerOf(members, id); got != want {
					t.Errorf("%d bits: %s: %q: %v, want %v", bits, c.Name(), key, got, want)
				}
			}
		}
		for _, c := range members {
			c.Stop()
		}
	}
}

func TestAdvertisedAddress(t *testing.T) {
	for what, tc := range map[string]struct {
		bind, adv string
		want      func(addr string) bool
	}{
		"empty is the bound address":      {"127.0.0.1:0", "", func(a string) bool { return strings.HasPrefix(a, "127.0.0.1:") && !strings.HasSuffix(a, ":0") }},
		"port 0 is the bound port":        {"0.0.0.0:0", "localhost:0", func(a string) bool { return strings.HasPrefix(a, "localhost:") && !strings.HasSuffix(a, ":0") }},
		"a name is kept as it is":         {"127.0.0.1:0", "node1.example.com:7946", func(a string) bool { return a == "node1.example.com:7946" }},
		"a host name in BindAddr is fine": {"localhost:0", "", func(a string) bool { _, p, err := net.SplitHostPort(a); return err == nil && p != "0" }},
	} {
		t.Run(what, func(t *testing.T) {
			c := create(t, "node", func(c *concord.Config) { c.BindAddr, c.AdvAddr = tc.bind, tc.adv })
			if !tc.want(c.Address()) {
				t.Error(c.Address())
			}
			if s := c.Successors(); len(s) != 1 || s[0].Address != c.Address() {
				t.Errorf("successors %v", s)
			}
		})
	}
}

func TestBusyPortIsAnErrorOfBindAddr(t *testing.T) {
	a := start(t, "a")
	b := concord.New(configure("b", func(c *concord.Config) { c.BindAddr = a.Address() }))
	err := b.Start()
	if got := fields(err); !slices.Equal(got, []string{"BindAddr"}) {
		t.Fatalf("%v", err)
	}
	wantErr(t, "Create", b.Create(), concord.ErrNotStarted)
	a.Stop()
	if err := b.Start(); err != nil {
		t.Fatalf("not after the port has become free: %v", err)
	}
	b.Stop()
}

func TestThreeSuccessorsByDefault(t *testing.T) {
	a := create(t, "a", func(c *concord.Config) { c.StabilizeInterval = 0 })
	members := []*concord.Concord{a}
	for _, name := range []string{"b", "c", "d", "e"} {
		c := start(t, name, func(c *concord.Config) { c.StabilizeInterval = 0 })
		join(t, c, a.Address())
		members = append(members, c)
	}
	awaitIdeal(t, members, 3)
}
