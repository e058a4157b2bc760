// Package mutant plants known mistakes in the machine and in the tables that
// ship, one at a time, and has the model checker and the simulator look for
// them. Whoever finds none of them would not have found ours.
//
// A mutant is a few replacements of source text. It is built with go build
// -overlay, so that nothing of it is in the source: a program is made of the
// patched files, of everything else as it is, and of package hunt, which looks.
// One program holds all mutants that change bodies of functions only, and is told
// by its environment which of them to be.
// docs/VERIFICATION.md has the table of what was found; the test makes it.
package mutant

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mutant is one mistake in one place.
type Mutant struct {
	Name string
	// Does is the mistake in a sentence: what the mutant does.
	Does  string
	Edits []Edit
	// Check and Sim name the searches of package hunt in which it is found.
	Check, Sim string
	// Test is a test that fails with it, if neither finds it: the path of a package in internal, a dot
	// and the name.
	Test string
	// Same is why nobody can tell the mutant from the original, if so. The
	// model checker must then see exactly as many states with it as without.
	Same string
}

// Edit replaces a text that occurs exactly once in a file.
type Edit struct {
	File     string // from the root of the module
	Old, New string
}

// Mistake is one that others have made, or that would be easy to make, with the
// mutants that make it.
type Mistake struct {
	Says    string
	Mutants []Mutant
	// Unchecked, if not empty, says why the model checker can find none of them.
	Unchecked string
	// Unsimulated is the same of the simulator.
	Unsimulated string
}

// Overlay writes the patched files of m, a module at root, to dir, and returns
// the file to be given to go build -overlay.
func Overlay(root, dir string, m Mutant) (string, error) {
	patched, err := m.patch(root)
	if err != nil {
		return "", err
	}
	return overlay(root, dir, patched)
}

// patch returns the text of each file that m changes.
func (m Mutant) patch(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range m.Edits {
		text, ok := texts[e.File]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.File))
			if err != nil {
				return nil, err
			}
			text = string(b)
		}
		if n := strings.Count(text, e.Old); n != 1 {
			return nil, fmt.Errorf("mutant %s: this occurs %d times in %s, not once; if the code has moved, the mutant must follow:\n%s", m.Name, n, e.File, e.Old)
		}
		texts[e.File] = strings.Replace(text, e.Old, e.New, 1)
	}
	return texts, nil
}

// overlay writes texts to dir, to stand for the files of the module at root.
func overlay(root, dir string, texts map[string]string) (string, error) {
	replace := map[string]string{}
	for file, text := range texts {
		patched := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(patched, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = patched
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}
