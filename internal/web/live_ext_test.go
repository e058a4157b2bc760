package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ollelogdahl/concord"
	"github.com/ollelogdahl/concord/internal/cluster"
	"github.com/ollelogdahl/concord/internal/web"
)

// Over real sockets: a page sees the members of a ring, one that is stopped, and
// the path of a key.
func TestPageOfALiveRing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := cluster.New(func(int) concord.Config { return concord.Config{StabilizeInterval: 50 * time.Millisecond} })
	defer c.Close()
	members, err := c.AddMany(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WaitIdeal(ctx); err != nil {
		t.Fatal(err)
	}
	h := web.New(web.Config{Member: members[0], Interval: 20 * time.Millisecond})
	defer h.Close()
	s := httptest.NewServer(h)
	defer s.Close()
	defer s.Client().CloseIdleConnections()
	var p web.Page
	fetch(ctx, t, s, "/?format=json", &p)
	if len(p.Ring.Members) != 5 || p.Walk.Error != "" {
		t.Fatalf("%+v", p)
	}
	for _, m := range p.Ring.Members {
		if m.State != web.Here || !m.Asked || len(m.Wrong) > 0 {
			t.Errorf("%+v", m)
		}
	}
	var l web.Lookup
	fetch(ctx, t, s, "/lookup?key=apple", &l)
	if owner, err := members[0].LookupContext(ctx, []byte("apple"), concord.Fresh()); err != nil || l.Owner == nil || uint64(l.Owner.ID) != owner.Id {
		t.Errorf("%+v, %+v, %v", l, owner, err)
	}
	c.Kill(members[3])
	for {
		fetch(ctx, t, s, "/?format=json", &p)
		said := strings.Join(texts(p), "\n")
		if strings.Contains(said, members[3].Name()+" is gone") {
			return
		}
	}
}

func fetch(ctx context.Context, t *testing.T, s *httptest.Server, path string, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", path, answer.Status, err)
	}
}
