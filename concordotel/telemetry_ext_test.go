package concordotel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordotel"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// newRing makes an ideal ring of n, whose i-th member is told of to observer(i).
func newRing(t *testing.T, n int, observer func(i int) *concord.Observer) []*concord.Concord {
	t.Helper()
	c := cluster.New(func(i int) concord.Config {
		return concord.Config{Name: fmt.Sprintf("member%d", i), StabilizeInterval: 50 * time.Millisecond, Observer: observer(i)}
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

// tracing makes Telemetry whose spans all go to the recorder.
func tracing(t *testing.T, recorder *tracetest.SpanRecorder) *concordotel.Telemetry {
	t.Helper()
	telemetry, err := concordotel.New(concordotel.Config{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)),
		MeterProvider:  noop.NewMeterProvider(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return telemetry
}

func attributes(s sdktrace.ReadOnlySpan) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes() {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}

// await polls until f returns nil: what a member served ends after its answer has
// arrived.
func await(t *testing.T, f func() error) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(2*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

func TestTraceFollowsALookupAcrossMembers(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	members := newRing(t, 12, func(int) *concord.Observer { return tracing(t, recorder).Observer() })
	c := members[0]
	if n := len(recorder.Ended()); n != 0 {
		t.Errorf("%d spans of what members do for themselves", n)
	}

	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	var spans []sdktrace.ReadOnlySpan
	// Somebody is so far away that more than one member is asked.
	for i := 1; ; i++ {
		if i == len(members) {
			t.Fatal("every member was found in one hop: this tests nothing")
		}
		recorder.Reset()
		ctx, parent := provider.Tracer("test").Start(t.Context(), "parent")
		tr, err := c.Trace(ctx, []byte(members[i].Name()), concord.Fresh(), concord.Cold())
		if err != nil {
			t.Fatal(err)
		}
		parent.End()
		if len(tr.Hops) < 2 {
			continue
		}
		await(t, func() error {
			if spans = recorder.Ended(); len(spans) < 2+2*len(tr.Hops) {
				return fmt.Errorf("%d spans of a lookup with %d hops", len(spans), len(tr.Hops))
			}
			return nil
		})
		if len(spans) != 2+2*len(tr.Hops) {
			t.Errorf("%d spans of a lookup with %d hops", len(spans), len(tr.Hops))
		}
		byID := map[trace.SpanID]sdktrace.ReadOnlySpan{}
		for _, s := range spans {
			byID[s.SpanContext().SpanID()] = s
			if s.SpanContext().TraceID() != parent.SpanContext().TraceID() {
				t.Errorf("%s is of another trace", s.Name())
			}
		}
		var asked []string
		for _, s := range spans {
			above, about := byID[s.Parent().SpanID()], attributes(s)
			switch {
			case s.Name() == "parent":
			case s.Name() == "concord.lookup":
				want := map[string]string{
					"concord.id": fmt.Sprint(tr.Id), "concord.owner": tr.Owner.Name, "concord.source": "asked",
					"concord.hops": fmt.Sprint(len(tr.Hops)), "concord.outcome": "ok",
				}
				if above.Name() != "parent" || fmt.Sprint(about) != fmt.Sprint(want) {
					t.Errorf("lookup below %s: %v, want %v", above.Name(), about, want)
				}
			case s.SpanKind() == trace.SpanKindClient:
				host, port, _ := strings.Cut(serverOf(tr, about["concord.member"]).Address, ":")
				if above.Name() != "concord.lookup" || about["concord.kind"] != "route" || about["concord.outcome"] != "ok" ||
					about["server.address"] != host || about["server.port"] != port {
					t.Errorf("request below %s: %v", above.Name(), about)
				}
				asked = append(asked, about["concord.member"])
			case s.SpanKind() == trace.SpanKindServer:
				if above == nil || above.SpanKind() != trace.SpanKindClient || !s.Parent().IsRemote() || about["concord.member"] != c.Name() {
					t.Errorf("served: %v", about)
				}
			default:
				t.Errorf("%s of kind %v", s.Name(), s.SpanKind())
			}
		}
		var hops []string
		for _, h := range tr.Hops {
			hops = append(hops, h.Server.Name)
		}
		if !slices.Equal(asked, hops) {
			t.Errorf("asked %q, hops %q", asked, hops)
		}
		return
	}
}

func serverOf(tr concord.Trace, name string) concord.Server {
	for _, h := range tr.Hops {
		if h.Server.Name == name {
			return h.Server
		}
	}
	return concord.Server{}
}

func TestMemoryHasNoSpanAndFailureSaysWhy(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	members := newRing(t, 2, func(int) *concord.Observer { return tracing(t, recorder).Observer() })
	c := members[0]
	if _, err := c.Lookup([]byte(c.Name())); err != nil {
		t.Fatal(err)
	}
	if n := len(recorder.Ended()); n != 0 {
		t.Errorf("%d spans of a lookup from memory", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.LookupContext(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	spans := recorder.Ended()
	if len(spans) != 1 || spans[0].Status().Code != codes.Error || spans[0].Status().Description == "" || attributes(spans[0])["concord.outcome"] != "cancelled" {
		t.Errorf("%d spans of a lookup that failed", len(spans))
	}
}

// Without a trace nothing travels with a request.
func TestNothingTravelsWithoutATrace(t *testing.T) {
	var mu sync.Mutex
	got := map[string]bool{}
	listen := &concord.Observer{Extract: func(ctx context.Context, get func(string) string) context.Context {
		mu.Lock()
		defer mu.Unlock()
		got[get("traceparent")] = true
		return ctx
	}}
	recorder := tracetest.NewSpanRecorder()
	off, err := concordotel.New(concordotel.Config{
		MeterProvider:  noop.NewMeterProvider(),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sdktrace.NeverSample())),
	})
	if err != nil {
		t.Fatal(err)
	}
	members := newRing(t, 8, func(i int) *concord.Observer {
		if i == 0 {
			return tracing(t, recorder).Observer()
		}
		return listen
	})
	sent := func() []string {
		mu.Lock()
		defer mu.Unlock()
		var out []string
		for k := range got {
			out = append(out, k)
		}
		clear(got)
		return out
	}
	// The fingers of the first have been looked up by now or are soon.
	await(t, func() error {
		if members[0].Status().Counters.FingerLookups == 0 {
			return errors.New("no fingers looked up")
		}
		return nil
	})
	for _, v := range sent() {
		if v != "" {
			t.Errorf("traceparent %q with what a member asks for itself", v)
		}
	}
	if _, err := members[0].LookupContext(t.Context(), []byte(members[1].Name()), concord.Fresh()); err != nil {
		t.Fatal(err)
	}
	if v := sent(); !slices.ContainsFunc(v, func(s string) bool { return strings.HasSuffix(s, "-01") }) {
		t.Errorf("traceparent %q with a lookup that is traced", v)
	}
	// A lookup that is not sampled says so to those asked.
	client, err := concord.Dial(t.Context(), concord.ClientConfig{Observer: off.Observer()}, members[1].Address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	before := len(recorder.Ended())
	if _, err := client.LookupContext(t.Context(), []byte(members[1].Name()), concord.Fresh()); err != nil {
		t.Fatal(err)
	}
	if n := len(recorder.Ended()); n != before {
		t.Errorf("%d spans of a lookup that is not sampled", n-before)
	}
}

func TestMetricsAreThoseOfTheList(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	telemetry, err := concordotel.New(concordotel.Config{MeterProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	members := newRing(t, 3, func(i int) *concord.Observer {
		if i == 0 {
			return telemetry.Observer()
		}
		return nil
	})
	registration, err := telemetry.Member(members[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := members[0].LookupContext(t.Context(), []byte(members[1].Name()), concord.Fresh()); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = members[0].LookupContext(ended, []byte("x"))

	got := collect(t, reader)
	var want []string
	for _, d := range metrics.All {
		name := "concord." + d.Base
		want = append(want, name)
		m := got[name]
		if m.Unit != d.Unit || m.Description != d.Help {
			t.Errorf("%s: unit %q, %q", name, m.Unit, m.Description)
		}
		switch data := m.Data.(type) {
		case metricdata.Sum[float64]:
			if d.Kind != metrics.Counter || !data.IsMonotonic {
				t.Errorf("%s is a sum", name)
			}
		case metricdata.Gauge[float64]:
			if d.Kind != metrics.Gauge {
				t.Errorf("%s is a gauge", name)
			}
		case metricdata.Histogram[float64]:
			if d.Kind != metrics.Histogram || len(data.DataPoints) == 0 || !slices.Equal(data.DataPoints[0].Bounds, d.Buckets) {
				t.Errorf("%s is a histogram", name)
			}
		default:
			t.Errorf("%s is %T", name, data)
		}
	}
	for name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("%s is not on the list", name)
		}
	}
	sum := func(name string, labels ...attribute.KeyValue) float64 {
		set := attribute.NewSet(labels...)
		for _, p := range got[name].Data.(metricdata.Sum[float64]).DataPoints {
			if p.Attributes.Equals(&set) {
				return p.Value
			}
		}
		return -1
	}
	if n := sum("concord.lookups", attribute.String("source", "asked"), attribute.String("outcome", "ok")); n != 5 {
		t.Errorf("%v lookups", n)
	}
	if n := sum("concord.lookups", attribute.String("source", "none"), attribute.String("outcome", "cancelled")); n != 1 {
		t.Errorf("%v lookups given up", n)
	}

	if err := registration.Unregister(); err != nil {
		t.Fatal(err)
	}
	if m, there := collect(t, reader)["concord.joined"]; there {
		t.Errorf("still collected: %v", m)
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClientIsMeasured(t *testing.T) {
	members := newRing(t, 2, func(int) *concord.Observer { return nil })
	reader := sdkmetric.NewManualReader()
	telemetry, err := concordotel.New(concordotel.Config{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	c, err := concord.Dial(t.Context(), concord.ClientConfig{Observer: telemetry.Observer()}, members[0].Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := telemetry.Client(c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lookup([]byte("x")); err != nil {
		t.Fatal(err)
	}
	got := collect(t, reader)
	for _, d := range metrics.All {
		if _, there := got["concord."+d.Base]; there != d.Client {
			t.Errorf("%s of a client: %v", d.Base, there)
		}
	}
}

// collect returns the metrics by their names.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			out[m.Name] = m
		}
	}
	return out
}
