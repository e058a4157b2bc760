package concord_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ollelogdahl/concord"
)

// kinds notes in of, for each attribute of a record, of what JSON type it is, and
// finds one that was of another before.
func kinds(of map[string]string, at string, v any) error {
	kind := fmt.Sprintf("%T", v)
	if was, ok := of[at]; ok && was != kind {
		return fmt.Errorf("%s is %s and was %s", at, kind, was)
	}
	of[at] = kind
	if group, ok := v.(map[string]any); ok {
		for name, v := range group {
			if err := kinds(of, at+"."+name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// Who indexes JSON logs gives a field one type, and refuses records that have another.
func TestAnAttributeOfTheLogHasOneType(t *testing.T) {
	var log journal
	logs := func(c *concord.Config) {
		c.LogHandler = slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	a, b := create(t, "a", logs), start(t, "b", logs)
	join(t, b, a.Address())
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if s := a.Status(); s.Predecessor != nil {
			return errors.New("b is still there")
		}
		return nil
	})
	a.Stop() // after which all is in the log
	of := map[string]string{}
	seen := map[string]bool{}
	for line := range strings.Lines(log.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		seen[fmt.Sprint(record["msg"])] = true
		if to, ok := record["to"].(map[string]any); ok && to["name"] == b.Name() {
			seen["who answers for what was lost"] = true
		}
		for name, v := range record {
			if err := kinds(of, name, v); err != nil {
				t.Errorf("%v: %s", err, line)
			}
		}
	}
	for _, msg := range []string{"phase changed", "successor replaced", "predecessor replaced", "range changed", "who answers for what was lost"} {
		if !seen[msg] {
			t.Errorf("no record says %q:\n%s", msg, log.String())
		}
	}
	for _, at := range []string{"old.id", "new.start", "old.end"} {
		if of[at] != "string" {
			t.Errorf("%s is %s: identifiers have more than 53 bits", at, of[at])
		}
	}
}
