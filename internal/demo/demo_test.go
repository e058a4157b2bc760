package demo

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRingThatStaysAnswersKeysThatAreTyped(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "concord.exe")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/ollelogdahl/concord/cmd/concord").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	d := New(Options{Members: 3, Interval: time.Second, Binary: bin, Out: &out})
	defer d.End()
	if err := d.form(ctx); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	d.Stay(ctx, strings.NewReader("\nsome key\napple\n"))
	for _, key := range []string{"some key", "apple"} {
		s := d.truth(key)
		if want := fmt.Sprintf("%s -> %s (%d) %s", key, s.Name, s.Id, s.Address); !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
}
