// Package concordprom measures members and clients of package concord with
// Prometheus.
//
//	metrics := concordprom.New()
//	node := concord.New(concord.Config{ /* … */ Observer: metrics.Observer()})
//	prometheus.MustRegister(metrics.Member(node))
//
// # What it costs
//
// Lookups that are answered from memory are not touched: they are counted anyway, and
// the counts read when Prometheus asks for them. So are all gauges. A lookup that
// asks others takes a few microseconds more, of some sixty on one machine;
// [docs/METRICS.md] has the figures.
//
// # Names
//
// [docs/METRICS.md] lists the metrics, their labels with every value, and the alerts
// made of them. Labels are bounded: they never hold keys, addresses or names of
// members.
//
// # Several members in one process
//
// Each takes Metrics of its own, registered with a label that tells them apart:
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

// Metrics are those of one member or one client. Make them with New. The methods may
// be called concurrently.
type Metrics struct {
	record     *metrics.Record
	observer   *concord.Observer
	histograms []*prometheus.HistogramVec
	descs      map[*metrics.Metric]*prometheus.Desc
}

// New returns metrics that have measured nothing yet.
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

// histogram makes a histogram with a series for each value of its label, if it has
// one, from the beginning.
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

// Observer returns what goes into the Config of the member, or the ClientConfig of
// the client, that is measured.
func (m *Metrics) Observer() *concord.Observer { return m.observer }

// Member returns the collector of a member's metrics, to be registered. The member
// must have been made with the Observer of m. It may be collected at any time, also
// before Start and after Stop.
func (m *Metrics) Member(c *concord.Concord) prometheus.Collector {
	return &collector{m, func(put metrics.Put) { m.record.Member(c.Status(), put) }, false}
}

// Client returns the collector of a client's metrics, to be registered. The client
// must have been made with the Observer of m. It may be collected at any time, also
// after Close.
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

// Handler serves the metrics of a member, and those of the Go runtime and the process,
// for Prometheus to scrape, and more, which are the program's own. It is for programs
// that have no registry of their own.
func (m *Metrics) Handler(c *concord.Concord, more ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(more...)
	registry.MustRegister(m.Member(c), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}
