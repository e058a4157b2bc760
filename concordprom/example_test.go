package concordprom_test

import (
	"fmt"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordprom"
)

// A member whose metrics Prometheus can scrape.
func Example() {
	metrics := concordprom.New()
	node := concord.New(concord.Config{
		Name:     "node1",
		BindAddr: "127.0.0.1:0",
		Observer: metrics.Observer(),
	})
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	defer node.Stop()
	if err := node.Create(); err != nil {
		log.Fatal(err)
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.Member(node))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	n, err := testutil.GatherAndCount(registry, "concord_joined")
	fmt.Println(n, err)
	// Output: 1 <nil>
}

// Two members of one process are told apart by a label.
func ExampleMetrics_Member() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"node1", "node2"} {
		metrics := concordprom.New()
		node := concord.New(concord.Config{Name: name, BindAddr: "127.0.0.1:0", Observer: metrics.Observer()})
		prometheus.WrapRegistererWith(prometheus.Labels{"member": name}, registry).MustRegister(metrics.Member(node))
	}
	n, err := testutil.GatherAndCount(registry, "concord_range_share")
	fmt.Println(n, err)
	// Output: 2 <nil>
}
