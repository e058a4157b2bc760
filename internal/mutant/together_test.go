package mutant

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The functions of a small program answer as those of the mutant that is chosen, whether
// they return something or not, and several mutants of one function do not disturb each other.
func TestProgramIsTheMutantThatIsChosen(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module small\n\ngo 1.26\n",
		"a.go": `package main

const greeting = "good"

func main() {
	say(greeting, 1)
}

func say(what string, times int) {
	for range times {
		print(what, " ")
	}
	print(at())
}

func at() (hour int) { return 7 }
`,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(old, with string) Edit { return Edit{"a.go", old, with} }
	mutants := []Mutant{
		{Name: "late", Edits: []Edit{edit("return 7", "return 9")}},
		{Name: "silent", Edits: []Edit{edit("range times", "range times - 1")}},
		{Name: "hello", Edits: []Edit{edit(`const greeting = "good"`, `const greeting = "hello"`)}},
		{Name: "twice and early", Edits: []Edit{edit("say(greeting, 1)", "say(greeting, 2)"), edit("return 7", "return 5")}},
	}
	dir := t.TempDir()
	overlay, numbers, err := Together(root, dir, mutants)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "small")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", bin, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if number, ok := numbers["hello"]; ok {
		t.Errorf("what changes more than bodies of functions has the number %d", number)
	}
	for name, want := range map[string]string{"": "good 7", "late": "good 9", "silent": "7", "twice and early": "good good 5"} {
		cmd := exec.CommandContext(t.Context(), bin)
		cmd.Env = append(os.Environ(), Planted+"="+strconv.Itoa(numbers[name]))
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q says %q, %v; want %q", name, out, err, want)
		}
	}
}
