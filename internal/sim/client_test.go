package sim

import (
	"slices"
	"testing"
	"time"

	"github.com/ollelogdahl/concord/internal/ring"
	"github.com/ollelogdahl/concord/internal/routing"
)

// begun is a world of members that stand right and of clients, after a while.
func begun(t *testing.T, cfg Config, after time.Duration) *world {
	t.Helper()
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(cfg, 1)
	w.settle()
	w.addClients()
	w.run(after, nil)
	return w
}

func TestClientsFindOwners(t *testing.T) {
	w := begun(t, Config{Members: 16, Clients: 4}, time.Second)
	for _, i := range w.clients {
		h := w.hosts[i]
		if h.client.dialing || len(h.client.contacts.List()) != 1+w.cfg.Successors {
			t.Errorf("%s: dialing is %t, contacts %v", h.name, h.client.dialing, h.client.contacts.List())
		}
		for range 20 {
			w.lookUp(h, w.load.Uint64(), routing.Options{})
		}
	}
	w.run(w.now+routing.LookupTimeout, nil)
	if n := w.result.Lookups; n.Count != 80 || n.Errors != 0 || n.Wrong != 0 || len(w.result.Violations) > 0 {
		t.Errorf("%+v, %v", n, w.result.Violations)
	}
}

// All that a client has met start again, as other processes: only the addresses are left.
func TestClientsComeBackByTheirAddresses(t *testing.T) {
	w := begun(t, Config{Members: 8, Clients: 1, NoMemory: true}, time.Second)
	h := w.hosts[w.clients[0]]
	kept := number(h.client.addrs[0])
	for i := range w.cfg.Members {
		if int32(i) != kept {
			w.stop(w.hosts[i], false)
		}
	}
	w.stop(w.hosts[kept], false)
	w.start(w.hosts[kept], nil)
	w.beginJoin(w.hosts[kept])
	w.run(w.now+time.Second, nil)
	w.lookUp(h, 7, routing.Options{})
	w.run(w.now+routing.LookupTimeout, nil)
	if n := w.result.Lookups; n.Count != 1 || n.Errors != 0 {
		t.Errorf("%+v; contacts %v", n, h.client.contacts.List())
	}
	if got := h.client.contacts.List(); len(got) == 0 || got[0].Addr != h.client.addrs[0] {
		t.Errorf("contacts %v", got)
	}
	if h.client.looking {
		w.run(w.now+5*time.Second, nil)
		if h.client.looking {
			t.Error("the client goes on to ask for the ring though no lookup waits")
		}
	}
}

// The processes that a client has met are gone and refuse nothing, and it remembers that they
// were slow. A lookup has time to ask all of them, and then whoever is at its addresses.
func TestClientsAskOthersWhenSeveralContactsAreSilent(t *testing.T) {
	w := begun(t, Config{Members: 16, Clients: 1, NoMemory: true}, time.Second)
	h := w.hosts[w.clients[0]]
	at := number(h.client.addrs[0])
	var gone []ring.Member
	for _, i := range slices.Clone(w.ring) {
		if g := w.hosts[i]; i != at && len(gone) < 6 {
			gone = append(gone, g.view.Self)
			h.linkMade(i).estimate.Observe(2 * time.Second)
			w.stop(g, true)
		}
	}
	w.run(w.now+30*time.Second, nil)
	h.client.contacts = routing.Contacts{}.Meet(gone[0], ring.Member{}, nil, nil, 0)
	for _, x := range gone[1:] {
		h.client.contacts = h.client.contacts.Meet(x, ring.Member{}, nil, nil, 0)
	}
	w.renewed(h)
	w.lookUp(h, 7, routing.Options{Cold: true})
	w.run(w.now+routing.LookupTimeout, nil)
	if n := w.result.Lookups; n.Count != 1 || n.Errors != 0 {
		t.Errorf("%+v; contacts %v", n, h.client.contacts.List())
	}
}

func TestClientsStopAskingWhenNoLookupWaits(t *testing.T) {
	w := begun(t, Config{Members: 4, Clients: 1}, time.Second)
	h := w.hosts[w.clients[0]]
	for i := range w.cfg.Members {
		w.stop(w.hosts[i], false)
	}
	w.lookUp(h, 7, routing.Options{})
	w.run(w.now+time.Second, nil)
	if !h.client.looking {
		t.Error("a lookup is stuck, and the client asks nobody for the ring")
	}
	w.run(w.now+routing.LookupTimeout+5*time.Second, nil)
	if h.client.looking || w.result.Lookups.Errors != 1 {
		t.Errorf("looking is %t after the lookup has ended; %+v", h.client.looking, w.result.Lookups)
	}
}

func TestRunsOfAllFaultsHaveClients(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want int
	}{
		{Config{Faults: All}, 4},
		{Config{Members: 3, Faults: Crash}, 1},
		{Config{Members: 1 << 20, Faults: All}, 64},
		{Config{}, 0},
		{Config{Faults: All, Clients: -1}, 0},
		{Config{Faults: All, Lookups: -1}, 0},
		{Config{Clients: 7}, 7},
	} {
		cfg, err := c.cfg.withDefaults()
		if err != nil || max(cfg.Clients, 0) != c.want {
			t.Errorf("%+v: %d clients, %v; want %d", c.cfg, cfg.Clients, err, c.want)
		}
	}
}

func TestRingsAndClientsHealInFaults(t *testing.T) {
	for name, cfg := range map[string]Config{
		"clients":         {Members: 12, Clients: 6, Faults: Crash | Vanish | Joins | Leaves},
		"clients, all":    {Members: 12, Clients: 6, Faults: All},
		"too few":         {Members: 4, MinMembers: 3, Clients: 2, Faults: Cut | Crash | Pause},
		"founders listed": {Members: 8, Start: "founders-listed", Faults: Loss | Crash | Cut},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg.Duration = 20 * time.Second
			for seed := range uint64(8) {
				r := run(t, cfg, seed)
				if len(r.Violations) > 0 || r.Lookups.Count == 0 {
					t.Errorf("seed %d: %d lookups, %v", seed, r.Lookups.Count, r.Violations)
				}
			}
		})
	}
}

func TestMembersServeWhenEnoughAreKnownToLive(t *testing.T) {
	const number = 3
	w := begun(t, Config{Members: 4, MinMembers: number}, time.Second)
	lookUp := func() (errors int) {
		before := w.result.Lookups.Errors
		for _, i := range slices.Clone(w.ring) {
			w.lookUp(w.hosts[i], w.load.Uint64(), routing.Options{Cold: true})
		}
		w.run(w.now+routing.LookupTimeout, nil)
		return w.result.Lookups.Errors - before
	}
	for len(w.ring) >= number {
		if failed := lookUp(); failed > 0 {
			t.Errorf("%d members: %d lookups fail", len(w.ring), failed)
		}
		w.stop(w.hosts[w.ring[0]], false)
		w.run(w.now+10*time.Second, nil)
	}
	if failed := lookUp(); failed != len(w.ring) {
		t.Errorf("%d members: %d lookups fail, not all", len(w.ring), failed)
	}
	if len(w.result.Violations) > 0 {
		t.Error(w.result.Violations)
	}
}
