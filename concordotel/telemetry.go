// Package concordotel exports metrics of concord members and clients through OpenTelemetry, and
// traces their lookups from member to member.
//
//	telemetry, err := concordotel.New(concordotel.Config{})
//	…
//	node := concord.New(concord.Config{ /* … */ Observer: telemetry.Observer()})
//	registration, err := telemetry.Member(node)
//	…
//	defer registration.Unregister()
//
// # Traces
//
// A lookup that memory does not answer is a span with the name "concord.lookup". Its parent is the
// span of the lookup's context. If the context has no span, the lookup begins a trace, if the
// sampler wants one. Each request to a member is a child span with the name "concord.route" and
// kind client. If that member traces too, it adds a child span "concord.route" of kind server,
// since the headers of the request carry the context of the trace. Lookups that ask one member for
// the same thing at the same time share a request, which is a child of the first.
//
// Lookups that memory answers have no span. Neither have the requests that maintain the ring and
// the lookups that a member makes for itself.
//
// The attributes of a lookup are concord.id, concord.owner, concord.source, concord.hops and
// concord.outcome. The attribute concord.id is the identifier of the key; the key itself is never
// exported. The attributes of a request are concord.kind, concord.member, server.address,
// server.port and concord.outcome.
//
// # Metrics
//
// The metrics are those of docs/METRICS.md with other names: concord_lookups_total is
// concord.lookups, and concord_lookup_duration_seconds is concord.lookup_duration with the unit s.
// Exporters to Prometheus turn them into the same names again. Labels are attributes of the same
// names. All metrics except the histograms are read when they are collected.
package concordotel

import (
	"context"
	"net"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/metrics"
)

// scope is the name under which the instruments and the spans are made.
const scope = "github.com/ollelogdahl/concord/concordotel"

// Config says where measurements and spans go. The zero Config uses the global providers of the
// program.
type Config struct {
	// MeterProvider makes the instruments. If nil, otel.GetMeterProvider() is used.
	MeterProvider metric.MeterProvider
	// TracerProvider makes the spans. If nil, otel.GetTracerProvider() is used.
	TracerProvider trace.TracerProvider
	// Propagator carries the context of a trace from member to member. If nil, the W3C headers
	// traceparent and tracestate are used. Baggage is then not sent, because it is not meant for
	// members.
	Propagator propagation.TextMapPropagator
}

// Telemetry exports the metrics and traces of one member or one client. Use New to make one. Its
// methods may be called concurrently.
type Telemetry struct {
	meter       metric.Meter
	tracer      trace.Tracer
	propagator  propagation.TextMapPropagator
	record      *metrics.Record
	observer    *concord.Observer
	observables map[*metrics.Metric]metric.Float64Observable // the counters and gauges
}

// New makes the instruments. It returns the errors of the meter provider.
func New(cfg Config) (*Telemetry, error) {
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.Propagator == nil {
		cfg.Propagator = propagation.TraceContext{}
	}
	t := &Telemetry{
		meter:       cfg.MeterProvider.Meter(scope),
		tracer:      cfg.TracerProvider.Tracer(scope),
		propagator:  cfg.Propagator,
		record:      metrics.NewRecord(),
		observables: map[*metrics.Metric]metric.Float64Observable{},
	}
	histograms := map[*metrics.Metric]metrics.Observe{}
	for _, d := range metrics.All {
		var err error
		name := "concord." + d.Base
		switch d.Kind {
		case metrics.Counter:
			t.observables[d], err = t.meter.Float64ObservableCounter(name, metric.WithDescription(d.Help), metric.WithUnit(d.Unit))
		case metrics.Gauge:
			t.observables[d], err = t.meter.Float64ObservableGauge(name, metric.WithDescription(d.Help), metric.WithUnit(d.Unit))
		case metrics.Histogram:
			histograms[d], err = t.histogram(name, d)
		}
		if err != nil {
			return nil, err
		}
	}
	t.observer = concord.Observers(t.record.Observer(metrics.Histograms{
		LookupDuration:  histograms[metrics.LookupDuration],
		LookupHops:      histograms[metrics.LookupHops],
		RequestDuration: histograms[metrics.RequestDuration],
	}), t.traces())
	return t, nil
}

// histogram makes a histogram whose attributes are made once.
func (t *Telemetry) histogram(name string, d *metrics.Metric) (metrics.Observe, error) {
	h, err := t.meter.Float64Histogram(name, metric.WithDescription(d.Help), metric.WithUnit(d.Unit), metric.WithExplicitBucketBoundaries(d.Buckets...))
	if err != nil {
		return nil, err
	}
	if len(d.Labels) == 0 {
		return func(v float64, _ ...string) { h.Record(context.Background(), v) }, nil
	}
	series := map[string]metric.MeasurementOption{}
	for _, value := range d.Labels[0].Values {
		series[value] = attributes(d, value)
	}
	return func(v float64, labels ...string) {
		if with := series[labels[0]]; with != nil {
			h.Record(context.Background(), v, with)
		}
	}, nil
}

// attributes are the values of a metric's labels.
func attributes(d *metrics.Metric, values ...string) metric.MeasurementOption {
	list := make([]attribute.KeyValue, len(values))
	for i, v := range values {
		list[i] = attribute.String(d.Labels[i].Name, v)
	}
	return metric.WithAttributeSet(attribute.NewSet(list...))
}

// Observer returns the Observer to set in the Config of the member, or in the ClientConfig of the
// client, that is observed.
func (t *Telemetry) Observer() *concord.Observer { return t.observer }

// Member registers the metrics of a member for collection, until the registration is unregistered.
// The member must have been made with the Observer of t. Member returns the errors of the meter
// provider.
func (t *Telemetry) Member(c *concord.Concord) (metric.Registration, error) {
	return t.register(false, func(put metrics.Put) { t.record.Member(c.Status(), put) })
}

// Client registers the metrics of a client for collection, until the registration is unregistered.
// The client must have been made with the Observer of t. Client returns the errors of the meter
// provider.
func (t *Telemetry) Client(c *concord.Client) (metric.Registration, error) {
	return t.register(true, func(put metrics.Put) { t.record.Client(c.Status(), put) })
}

func (t *Telemetry) register(client bool, read func(metrics.Put)) (metric.Registration, error) {
	var all []metric.Observable
	for _, d := range metrics.All {
		if x := t.observables[d]; x != nil && (d.Client || !client) {
			all = append(all, x)
		}
	}
	return t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		read(func(d *metrics.Metric, value float64, labels ...string) {
			o.ObserveFloat64(t.observables[d], value, attributes(d, labels...))
		})
		return nil
	}, all...)
}

// traces is the Observer that makes the spans.
func (t *Telemetry) traces() *concord.Observer {
	return &concord.Observer{
		Lookup:  t.lookup,
		Request: t.request,
		Serve:   t.serve,
		Inject: func(ctx context.Context, set func(key, value string)) {
			if trace.SpanContextFromContext(ctx).IsValid() {
				t.propagator.Inject(ctx, carrier{set: set})
			}
		},
		Extract: func(ctx context.Context, get func(key string) string) context.Context {
			return t.propagator.Extract(ctx, carrier{get: get})
		},
	}
}

// lookup starts the span of a lookup. The function that it returns ends the span.
//
//nolint:spancheck // see above
func (t *Telemetry) lookup(ctx context.Context, l concord.LookupBegin) (context.Context, func(concord.LookupEnd)) {
	if l.Background {
		return ctx, nil
	}
	// An identifier need not fit into a signed integer.
	ctx, span := t.tracer.Start(ctx, "concord.lookup", trace.WithAttributes(attribute.String("concord.id", strconv.FormatUint(l.Id, 10))))
	return ctx, func(e concord.LookupEnd) {
		span.SetAttributes(attribute.Int("concord.hops", e.Hops), attribute.String("concord.outcome", e.Outcome.String()))
		if e.Err == nil {
			span.SetAttributes(attribute.String("concord.owner", e.Owner.Name), attribute.String("concord.source", e.Source.String()))
		}
		end(span, e.Err)
	}
}

func (t *Telemetry) request(ctx context.Context, r concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
	return t.span(ctx, r, trace.SpanKindClient)
}

func (t *Telemetry) serve(ctx context.Context, r concord.RequestInfo) (context.Context, func(concord.RequestEnd)) {
	return t.span(ctx, r, trace.SpanKindServer)
}

// span starts the span of a request within a trace. The function that it returns ends the span.
// Other requests have no span.
//
//nolint:spancheck // see above
func (t *Telemetry) span(ctx context.Context, r concord.RequestInfo, kind trace.SpanKind) (context.Context, func(concord.RequestEnd)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, nil
	}
	about := []attribute.KeyValue{attribute.String("concord.kind", r.Kind.String())}
	if r.Server.Name != "" {
		about = append(about, attribute.String("concord.member", r.Server.Name))
	}
	if host, port, err := net.SplitHostPort(r.Server.Address); err == nil && kind == trace.SpanKindClient {
		about = append(about, attribute.String("server.address", host))
		if n, err := strconv.Atoi(port); err == nil {
			about = append(about, attribute.Int("server.port", n))
		}
	}
	ctx, span := t.tracer.Start(ctx, "concord."+r.Kind.String(), trace.WithSpanKind(kind), trace.WithAttributes(about...))
	return ctx, func(e concord.RequestEnd) {
		span.SetAttributes(attribute.String("concord.outcome", e.Outcome.String()))
		end(span, e.Err)
	}
}

func end(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// carrier is the headers of a request: to be set, or to be read.
type carrier struct {
	set func(key, value string)
	get func(key string) string
}

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if c.get == nil {
		return ""
	}
	return c.get(key)
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) {
	if c.set != nil {
		c.set(key, value)
	}
}

// Keys implements propagation.TextMapCarrier. It does not say which headers there are.
func (carrier) Keys() []string { return nil }
