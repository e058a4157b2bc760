// Package concordprom exports metrics of concord members and clients to Prometheus.
//
//	metrics := concordprom.New()
//	node := concord.New(concord.Config{ /* … */ Observer: metrics.Observer()})
//	prometheus.MustRegister(metrics.Member(node))
//
// # Cost
//
// Lookups that are answered from memory become no slower. They are counted anyway, and the counts
// are read when Prometheus collects them, as are all gauges. A lookup that asks other members takes
// a few microseconds longer, of about sixty on one machine; [docs/METRICS.md] has the figures.
//
// # Names
//
// [docs/METRICS.md] lists the metrics, the values of their labels, and alerts. The values of labels
// are bounded: they are never keys, addresses or names of members.
//
// # Several members in one process
//
// Give each member its own Metrics and register them with a label that tells the members apart:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"member": "node1"}, registry)
//
// [docs/METRICS.md]: https://github.com/ollelogdahl/concord/blob/main/docs/METRICS.md
package concordprom

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/metrics"
)

// Metrics are the metrics of one member or one client. Use New to make them. The methods may be
// called concurrently.
type Metrics struct {
	record     *metrics.Record
	observer   *concord.Observer
	histograms []*prometheus.HistogramVec
	descs      map[*metrics.Metric]*prometheus.Desc
}

// New returns Metrics without measurements.
func New() *Metrics {
	m := &Metrics{record: metrics.NewRecord(), descs: map[*metrics.Metric]*prometheus.Desc{}}
	for _, d := range metrics.All {
		m.descs[d] = prometheus.NewDesc(d.Name(), d.Help, d.LabelNames(), nil)
	}
	m.observer = m.record.Observer(metrics.Histograms{
		LookupDuration:  m.histogram(metrics.LookupDuration),
		LookupHops:      m.histogram(metrics.LookupHops),
		RequestDuration: m.histogram(metrics.RequestDuration),
	})
	return m
}

// histogram makes a histogram. If it has a label, it has a series for each value from the
// beginning.
func (m *Metrics) histogram(d *metrics.Metric) metrics.Observe {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name(), Help: d.Help, Buckets: d.Buckets}, d.LabelNames())
	m.histograms = append(m.histograms, vec)
	if len(d.Labels) == 0 {
		h := vec.WithLabelValues()
		return func(v float64, _ ...string) { h.Observe(v) }
	}
	series := map[string]prometheus.Observer{}
	for _, value := range d.Labels[0].Values {
		series[value] = vec.WithLabelValues(value)
	}
	return func(v float64, labels ...string) {
		if h := series[labels[0]]; h != nil {
			h.Observe(v)
		}
	}
}

// Observer returns the Observer to set in the Config of the member, or in the ClientConfig of the
// client, that is measured.
func (m *Metrics) Observer() *concord.Observer { return m.observer }

// Member returns the collector of a member's metrics, to be registered. The member must have been
// made with the Observer of m. The collector may be used at any time, also before Start and after
// Stop.
func (m *Metrics) Member(c *concord.Concord) prometheus.Collector {
	return &collector{m, func(put metrics.Put) { m.record.Member(c.Status(), put) }, false}
}

// Client returns the collector of a client's metrics, to be registered. The client must have been
// made with the Observer of m. The collector may be used at any time, also after Close.
func (m *Metrics) Client(c *concord.Client) prometheus.Collector {
	return &collector{m, func(put metrics.Put) { m.record.Client(c.Status(), put) }, true}
}

type collector struct {
	metrics *Metrics
	read    func(metrics.Put)
	client  bool
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range metrics.All {
		if d.Client || !c.client {
			out <- c.metrics.descs[d]
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.read(func(d *metrics.Metric, value float64, labels ...string) {
		kind := prometheus.GaugeValue
		if d.Kind == metrics.Counter {
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(c.metrics.descs[d], kind, value, labels...)
	})
	for _, h := range c.metrics.histograms {
		h.Collect(out)
	}
}

// Handler returns a handler that serves the metrics of a member, of the Go runtime and of the
// process for Prometheus to scrape. It also serves what the collectors in more give. It is for
// programs without a registry of their own.
func (m *Metrics) Handler(c *concord.Concord, more ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(more...)
	registry.MustRegister(m.Member(c), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}
