// Package concordotel measures members and clients of package concord with
// OpenTelemetry, and traces their lookups across members.
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
// A lookup that memory does not answer is a span, "concord.lookup", below the span
// of the context that it was given. Each member asked is a span below that
// ("concord.route", kind client), and each of those, at the member asked if that
// traces too, another ("concord.route", kind server): the context of the trace travels in the
// headers of the request. Without a span in the context the lookup begins a trace,
// if the sampler wants one. What memory answers has no span, nor has the maintenance
// of the ring or what a member looks up for itself. Lookups that ask one member
// for the same thing at the same time share its request, which is below the first.
//
// Attributes: concord.id (the identifier of the key, never the key), concord.owner,
// concord.source, concord.hops and concord.outcome of a lookup; concord.kind,
// concord.member, server.address, server.port and concord.outcome of a request.
//
// # Metrics
//
// They are those of docs/METRICS.md with other names: concord_lookups_total is
// concord.lookups, and concord_lookup_duration_seconds is concord.lookup_duration with
// the unit s, so that exporters to Prometheus make the same names of them again.
// Labels are attributes of the same names. All but the histograms are read when they
// are collected.
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

// Config says where measurements and spans go. The zero Config is that of the
// program.
type Config struct {
	// MeterProvider makes the instruments. Nil: otel.GetMeterProvider().
	MeterProvider metric.MeterProvider
	// TracerProvider makes the spans. Nil: otel.GetTracerProvider().
	TracerProvider trace.TracerProvider
	// Propagator says how the context of a trace travels from member to member.
	// Nil: the W3C's traceparent and tracestate, and no baggage, which is not meant
	// for members.
	Propagator propagation.TextMapPropagator
}

// Telemetry is that of one member or one client. Make it with New. Its methods may be
// called concurrently.
type Telemetry struct {
	meter       metric.Meter
	tracer      trace.Tracer
	propagator  propagation.TextMapPropagator
	record      *metrics.Record
	observer    *concord.Observer
	observables map[*metrics.Metric]metric.Float64Observable // the counters and gauges
}

// New makes the instruments. An error is the meter provider's.
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

// Observer returns what goes into the Config of the member, or the ClientConfig of
// the client, that is observed.
func (t *Telemetry) Observer() *concord.Observer { return t.observer }

// Member has the figures of a member collected, until the registration is ended. The
// member must have been made with the Observer of t. An error is the meter
// provider's.
func (t *Telemetry) Member(c *concord.Concord) (metric.Registration, error) {
	return t.register(false, func(put metrics.Put) { t.record.Member(c.Status(), put) })
}

// Client has the figures of a client collected, until the registration is ended. The
// client must have been made with the Observer of t. An error is the meter
// provider's.
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

// span is that of a request within a trace. Others have none.
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

// Keys implements propagation.TextMapCarrier. Which headers there are is not told.
func (carrier) Keys() []string { return nil }
