package concordprom_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordprom"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// newRing makes an ideal ring of n, of which the first is observed.
func newRing(t testing.TB, n int, o *concord.Observer) []*concord.Concord {
	t.Helper()
	c := cluster.New(func(i int) concord.Config {
		cfg := concord.Config{Name: fmt.Sprintf("member%d", i), StabilizeInterval: 50 * time.Millisecond}
		if i == 0 {
			cfg.Observer = o
		}
		return cfg
	})
	t.Cleanup(c.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	members, err := c.AddMany(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitIdeal(ctx); err != nil {
		t.Fatal(err)
	}
	return members
}

// gather collects c with all the checks that there are, and returns the values of
// the series, those of histograms being their counts.
func gather(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			out[strings.TrimSuffix(f.GetName()+"{"+strings.Join(labels, ",")+"}", "{}")] =
				m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

// names are the names of the metrics among the series.
func names(series map[string]float64) []string {
	var out []string
	for s := range series {
		name, _, _ := strings.Cut(s, "{")
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestMemberIsMeasured(t *testing.T) {
	m := concordprom.New()
	members := newRing(t, 4, m.Observer())
	c := members[0]
	collector := m.Member(c)
	before := gather(t, collector)
	for range 10 {
		if _, err := c.Lookup([]byte(c.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range members[1:] {
		if _, err := c.LookupContext(t.Context(), []byte(other.Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.LookupContext(ended, []byte("x")); err == nil {
		t.Fatal("an owner though nobody waited for it")
	}
	after := gather(t, collector)
	for series, want := range map[string]float64{
		"concord_lookups_total{outcome=ok,source=asked}":       3,
		"concord_lookups_total{outcome=cancelled,source=none}": 1,
		"concord_lookup_duration_seconds{outcome=ok}":          3,
		"concord_lookup_duration_seconds{outcome=error}":       1,
		"concord_lookup_hops":                                  3,
	} {
		if got := after[series] - before[series]; got != want {
			t.Errorf("%s rose by %v, want %v", series, got, want)
		}
	}
	// What the member looks up for itself is answered from memory now and then.
	if got := after["concord_lookups_total{outcome=ok,source=own_range}"] - before["concord_lookups_total{outcome=ok,source=own_range}"]; got < 10 {
		t.Errorf("lookups of its own range rose by %v, want 10", got)
	}
	for series, want := range map[string]float64{
		"concord_joined": 1, "concord_isolated": 0, "concord_successors": 3, "concord_members_estimate": 4,
		"concord_virtual_nodes": 1, "concord_weight": 1,
		"concord_range_changes_total{cause=created}": 1, "concord_rings_met_total": 0,
		"concord_lookups_total{outcome=ok,source=none}": -1, "concord_requests_total{kind=leave,outcome=refused}": -1,
	} {
		if got, ok := after[series]; got != want && (ok || want >= 0) {
			t.Errorf("%s is %v, want %v (-1: none)", series, got, want)
		}
	}
	for _, series := range []string{
		"concord_requests_total{kind=route,outcome=ok}", "concord_requests_total{kind=ring,outcome=ok}",
		"concord_served_requests_total{kind=notify,outcome=ok}", "concord_request_duration_seconds{kind=route}",
		"concord_connections", "concord_successor_changes_total", "concord_successor_age_seconds",
	} {
		if after[series] <= 0 {
			t.Errorf("%s is %v", series, after[series])
		}
	}
	if share := after["concord_range_share"]; share != c.Status().Share || share <= 0 || share >= 1 {
		t.Errorf("its share is %v", share)
	}
	var all []string
	for _, d := range metrics.All {
		all = append(all, d.Name())
	}
	slices.Sort(all)
	if got := names(after); !slices.Equal(got, all) {
		t.Errorf("collected %q, listed %q", got, all)
	}
	if n := len(after); n > 120 {
		t.Errorf("%d series of one member", n)
	}

	c.Stop()
	stopped := gather(t, collector)
	if stopped["concord_joined"] != 0 || stopped["concord_lookups_total{outcome=ok,source=asked}"] < 3 {
		t.Errorf("stopped: %v", stopped)
	}
}

func TestMemberIsMeasuredBeforeItStarts(t *testing.T) {
	m := concordprom.New()
	c := concord.New(concord.Config{Name: "a", BindAddr: "127.0.0.1:0", Observer: m.Observer()})
	got := gather(t, m.Member(c))
	if _, there := got["concord_successor_age_seconds"]; there || got["concord_joined"] != 0 {
		t.Errorf("%v", got)
	}
	// The series of what has not happened yet are there, so that the first is seen.
	for _, series := range []string{
		"concord_lookups_total{outcome=timed_out,source=none}", "concord_lookup_duration_seconds{outcome=error}",
		"concord_range_changes_total{cause=alone}", "concord_requests_total{kind=look,outcome=ok}",
	} {
		if v, there := got[series]; !there || v != 0 {
			t.Errorf("%s: %v, %v", series, v, there)
		}
	}
}

func TestClientIsMeasured(t *testing.T) {
	members := newRing(t, 3, nil)
	m := concordprom.New()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := concord.Dial(ctx, concord.ClientConfig{Observer: m.Observer()}, members[0].Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, x := range members {
		if _, err := c.LookupContext(ctx, []byte(x.Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}
	}
	got := gather(t, m.Client(c))
	if got["concord_lookups_total{outcome=ok,source=asked}"] != 3 || got["concord_connections"] == 0 || got["concord_arcs"] == 0 {
		t.Errorf("%v", got)
	}
	var want []string
	for _, d := range metrics.All {
		if d.Client {
			want = append(want, d.Name())
		}
	}
	slices.Sort(want)
	if got := names(got); !slices.Equal(got, want) {
		t.Errorf("collected %q, listed %q", got, want)
	}
}

// Members of one process are told apart by a label that the application adds.
func TestTwoMembersInOneRegistry(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		m := concordprom.New()
		c := concord.New(concord.Config{Name: name, BindAddr: "127.0.0.1:0", Observer: m.Observer()})
		if err := prometheus.WrapRegistererWith(prometheus.Labels{"member": name}, registry).Register(m.Member(c)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := testutil.GatherAndCount(registry, "concord_joined"); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestHandlerServesWhatPrometheusReads(t *testing.T) {
	m := concordprom.New()
	c := newRing(t, 2, m.Observer())[0]
	srv := httptest.NewServer(m.Handler(c))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var scraping sync.WaitGroup
	for range 4 {
		scraping.Go(func() {
			resp, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%v, %v", resp.Status, err)
			}
			for _, want := range []string{"concord_joined 1\n", "go_goroutines", `concord_lookup_duration_seconds_bucket{outcome="ok",le="0.0001"}`} {
				if !strings.Contains(string(body), want) {
					t.Errorf("no %q", want)
				}
			}
		})
	}
	scraping.Wait()
}

// A label never has a value that is not on its list.
func TestLabelsAreBounded(t *testing.T) {
	m := concordprom.New()
	members := newRing(t, 3, m.Observer())
	members[1].Stop()
	for range 20 {
		if _, err := members[0].LookupContext(t.Context(), []byte(members[1].Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}
	}
	allowed := map[string][]string{}
	for _, d := range metrics.All {
		for _, l := range d.Labels {
			allowed[d.Name()+" "+l.Name] = l.Values
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.Member(members[0]))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			for _, l := range x.GetLabel() {
				seen[f.GetName()+" "+l.GetName()] = true
				if !slices.Contains(allowed[f.GetName()+" "+l.GetName()], l.GetValue()) {
					t.Errorf("%s: %s=%q is not on the list", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
	if got, want := slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(allowed)); !slices.Equal(got, want) {
		t.Errorf("labels %q, listed %q", got, want)
	}
}
