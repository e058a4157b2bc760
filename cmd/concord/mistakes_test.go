//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord"
)

// A mistake in a field of Config is told of the flag that sets it.
func TestEveryFieldHasItsFlag(t *testing.T) {
	// What no flag sets.
	none := []string{"OnRangeChange", "HashFunc", "HashBits", "LogHandler", "TakeoverTimeout", "Observer", "Network", "Limits.Streams"}
	flags := newRun().Flags()
	var visit func(of reflect.Type, prefix string)
	visit = func(of reflect.Type, prefix string) {
		for i := range of.NumField() {
			x := of.Field(i)
			field := prefix + x.Name
			if x.Name == "Limits" || x.Name == "TLS" && x.Type.Kind() == reflect.Pointer {
				if x.Type.Kind() == reflect.Pointer {
					x.Type = x.Type.Elem()
				}
				visit(x.Type, field+".")
				continue
			}
			names := flagOf(field)
			if slices.Contains(none, field) {
				if names != field {
					t.Errorf("%s has the flag %s, and is one of those without", field, names)
				}
				continue
			}
			for name := range strings.SplitSeq(names, ", ") {
				if bare, ok := strings.CutPrefix(name, "--"); !ok || flags.Lookup(bare) == nil {
					t.Errorf("%s: %s is no flag of concord run", field, name)
				}
			}
		}
	}
	visit(reflect.TypeFor[concord.Config](), "")
}

func TestMistakesSayWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"no such command":   {[]string{"rum"}, []string{"unknown command", "run"}},
		"no such flag":      {[]string{"run", "--nme", "x"}, []string{"unknown flag: --nme"}},
		"an argument":       {[]string{"run", "node1"}, []string{"takes flags only", "node1"}},
		"no name":           {[]string{"run"}, []string{"--name node1"}},
		"several at once":   {[]string{"run", "--name", "x", "--bind", "7946", "--successors", "99"}, []string{"--bind", "host:port", "--successors", "64"}},
		"no advertise":      {[]string{"run", "--name", "x", "--bind", ":0"}, []string{"--advertise", "reach"}},
		"port in use":       {[]string{"run", "--name", "x", "--bind", taken.Addr().String()}, []string{"--bind", "in use"}},
		"interval":          {[]string{"run", "--name", "x", "--interval", "1ms"}, []string{"--interval", "10ms"}},
		"no interval":       {[]string{"run", "--name", "x", "--interval", "0s"}, []string{"--interval", "10ms"}},
		"min members":       {[]string{"run", "--name", "x", "--min-members", "5"}, []string{"--min-members", "raise --successors to at least 4"}},
		"found nobody":      {[]string{"run", "--name", "x", "--found"}, []string{"--found", "--join"}},
		"found after":       {[]string{"run", "--name", "x", "--found-after", "1ms"}, []string{"--found-after", "100ms"}},
		"no found after":    {[]string{"run", "--name", "x", "--found-after", "0s"}, []string{"--found-after", "100ms"}},
		"no successors":     {[]string{"run", "--name", "x", "--successors", "0"}, []string{"--successors"}},
		"virtual nodes":     {[]string{"run", "--name", "x", "--bind", "127.0.0.1:0", "--virtual-nodes", "2000"}, []string{"--virtual-nodes: is 2000", "1024"}},
		"no weight":         {[]string{"run", "--name", "x", "--weight", "0"}, []string{"--weight 0", "concord drain"}},
		"negative weight":   {[]string{"run", "--name", "x", "--weight", "-1"}, []string{"--weight \"-1\": use a whole number of at least 0"}},
		"weights below 0":   {[]string{"run", "--name", "x", "--virtual-nodes=-1"}, []string{"--virtual-nodes \"-1\"", "at least 0"}},
		"huge weight":       {[]string{"run", "--name", "x", "--weight", "99999999999999999999"}, []string{"--weight", "smaller number"}},
		"no duration":       {[]string{"run", "--name", "x", "--lease", "2"}, []string{"--lease \"2\"", "500ms"}},
		"no number":         {[]string{"sim", "map", "--loss", "x"}, []string{"--loss \"x\": use a number"}},
		"weight too great":  {[]string{"run", "--name", "x", "--bind", "127.0.0.1:0", "--weight", "5000"}, []string{"concord: --weight: weight not possible: 5000", "1024"}},
		"pprof nowhere":     {[]string{"run", "--name", "x", "--pprof"}, []string{"--pprof needs --admin"}},
		"identity alone":    {[]string{"run", "--name", "x", "--tls-identity", "any"}, []string{"--tls-identity needs --tls-cert"}},
		"no time to leave":  {[]string{"run", "--name", "x", "--leave-timeout", "0s"}, []string{"--leave-timeout"}},
		"http listener":     {[]string{"run", "--name", "x", "--bind", "127.0.0.1:0", "--http", taken.Addr().String()}, []string{"--http", "in use"}},
		"admin listener":    {[]string{"run", "--name", "x", "--bind", "127.0.0.1:0", "--admin", "7950"}, []string{"--admin", "host:port"}},
		"SRV name":          {[]string{"run", "--name", "x", "--bind", "127.0.0.1:0", "--join", "_concord.example"}, []string{"_concord.example", "_service._proto.name"}},
		"log level":         {[]string{"run", "--name", "x", "--log-level", "loud"}, []string{"--log-level", "debug"}},
		"half of TLS":       {[]string{"run", "--name", "x", "--tls-cert", "c.pem"}, []string{"tls-key", "tls-ca"}},
		"no certificate":    {[]string{"run", "--name", "x", "--tls-cert", empty, "--tls-key", empty, "--tls-ca", empty}, []string{"--tls-cert"}},
		"join no address":   {[]string{"run", "--name", "x", "--bind", "127.0.0.1:0", "--join", "nowhere"}, []string{"nowhere", "host:port"}},
		"too few for demo":  {[]string{"demo", "--members", "2"}, []string{"--members", "3"}},
		"too many for demo": {[]string{"demo", "--members", "1000"}, []string{"--members", "32"}},
		"demo interval":     {[]string{"demo", "--interval", "1ms"}, []string{"--interval", "10ms"}},
		"bench, all wrong": {[]string{"bench", "--members", "2", "--callers", "0", "--rounds", "0", "--interval", "1ms", "--only", "all", "--churn-time", "0s"},
			[]string{"--members", "3 to 512", "--callers", "1 to 1024", "--rounds", "1 to 99", "--interval", "10ms", "--only", "idle, members, client, lookups, changes, churn", "--churn-time", "1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := command(t, c.args...).CombinedOutput()
			if err == nil {
				t.Errorf("no error; it says %s", out)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("lacks %q: %s", want, out)
				}
			}
			if strings.Contains(string(out), "concord: concord:") {
				t.Errorf("stutters: %s", out)
			}
		})
	}
}
