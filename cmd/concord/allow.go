package main

import (
	"errors"
	"fmt"
	"path"

	"github.com/ollelogdahl/concord"
)

// errNotAllowed is why a member may not take part.
var errNotAllowed = errors.New("no --allow has the name")

// allowed lets those take part whose names match a pattern; everybody if there is none.
func allowed(patterns []string) (func(concord.Peer) error, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return nil, fmt.Errorf("--allow %q: use a name, or a pattern with * ? [a-z]", p)
		}
	}
	return func(peer concord.Peer) error {
		for _, p := range patterns {
			if ok, err := path.Match(p, peer.Name); ok && err == nil {
				return nil
			}
		}
		return errNotAllowed
	}, nil
}
