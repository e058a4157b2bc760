// Command hunt makes the searches that its arguments name, all of them without
// arguments, and prints what each has found as a line of JSON. It is built with
// a mistake planted in what it searches.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/ollelogdahl/concord/internal/mutant"
)

func main() {
	if err := hunt(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hunt:", err)
		os.Exit(1)
	}
}

func hunt(names []string) error {
	for _, name := range names {
		if !slices.ContainsFunc(mutant.Searches, func(s mutant.Search) bool { return s.Name == name }) {
			return fmt.Errorf("there is no search %q", name)
		}
	}
	out := json.NewEncoder(os.Stdout)
	for _, s := range mutant.Searches {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		f, err := s.Run()
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if err := out.Encode(f); err != nil {
			return err
		}
	}
	return nil
}
