package concordotel_test

import (
	"context"
	"fmt"
	"log"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/concordotel"
)

// A member whose lookups are traced, here to memory.
func Example() {
	exporter := tracetest.NewInMemoryExporter()
	telemetry, err := concordotel.New(concordotel.Config{
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter)),
	})
	if err != nil {
		log.Fatal(err)
	}
	node := concord.New(concord.Config{
		Name:     "node1",
		BindAddr: "127.0.0.1:0",
		Observer: telemetry.Observer(),
	})
	registration, err := telemetry.Member(node)
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Unregister()
	if err := node.Start(); err != nil {
		log.Fatal(err)
	}
	defer node.Stop()
	if err := node.Create(); err != nil {
		log.Fatal(err)
	}

	// What memory answers has no span, so ask for the owner's own word.
	if _, err := node.LookupContext(context.Background(), []byte("apple"), concord.Fresh()); err != nil {
		log.Fatal(err)
	}
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.Name)
	}
	// Output: concord.lookup
}
