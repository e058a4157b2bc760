// Command hunt makes the searches that its arguments name, all of them if they name none,
// and prints what each has found as a line of JSON. The first argument is the seeds that they
// try, with commas, or the word all. It is built with mistakes planted in what it searches.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ollelogdahl/concord/internal/mutant"
)

func main() {
	if err := hunt(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hunt:", err)
		os.Exit(1)
	}
}

func hunt(args []string) error {
	if len(args) == 0 {
		return errors.New("say which seeds the searches try")
	}
	var seeds []uint64
	if args[0] != "all" {
		for word := range strings.SplitSeq(args[0], ",") {
			seed, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				return err
			}
			seeds = append(seeds, seed)
		}
	}
	names := args[1:]
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
		tried := seeds
		if args[0] == "all" {
			tried = s.All()
		}
		f, err := s.Run(tried)
		if err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
		if err := out.Encode(f); err != nil {
			return err
		}
	}
	return nil
}
