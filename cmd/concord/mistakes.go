package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ollelogdahl/concord"
)

// advise says what to do here about an error of the library.
func advise(err error) error {
	if mistakes := configErrors(err); len(mistakes) > 0 {
		lines := make([]error, len(mistakes))
		for i, m := range mistakes {
			lines[i] = fmt.Errorf("%s: %s", flagOf(m.Field), inFlags.Replace(m.Err.Error()))
		}
		return errors.Join(lines...)
	}
	var advice string
	switch {
	case errors.Is(err, concord.ErrNameTaken), errors.Is(err, concord.ErrIdentifierTaken):
		advice = "choose another --name, or stop that member first"
	case errors.Is(err, concord.ErrNotReachable):
		advice = "--advertise must be an address at which the other members reach this one, and no other: not that of a load balancer"
	case errors.Is(err, concord.ErrDifferentRing):
		advice = "all members of a ring need the same --cluster"
	case errors.Is(err, concord.ErrSelf):
		advice = "--join leads to this member itself; it needs the address of another one. If it is that of a load balancer, no other member has joined behind it yet"
	case errors.Is(err, concord.ErrUnavailable), errors.Is(err, concord.ErrNotJoined):
		advice = "is a member of the ring running at the address of --join? Leave --join out to found a ring"
	default:
		return err
	}
	return fmt.Errorf("%w\n%s", err, advice)
}

// inFlags says in the words of the flags what the library says of another field.
var inFlags = strings.NewReplacer("BindAddr", "--bind", "SuccessorCount", "--successors", "StabilizeInterval", "--interval")

// configErrors finds all mistakes that Start has reported.
func configErrors(err error) []*concord.ConfigError {
	var out []*concord.ConfigError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, configErrors(e)...)
		}
	} else if m, ok := errors.AsType[*concord.ConfigError](err); ok {
		out = append(out, m)
	}
	return out
}

// flagOf is the flag that sets a field of concord.Config.
func flagOf(field string) string {
	switch field {
	case "Name":
		return "--name"
	case "BindAddr":
		return "--bind"
	case "AdvAddr":
		return "--advertise"
	case "SuccessorCount":
		return "--successors"
	case "StabilizeInterval":
		return "--interval"
	case "MinMembers":
		return "--min-members"
	case "Lease":
		return "--lease"
	case "FoundAfter":
		return "--found-after"
	case "Meta":
		return "--meta"
	case "Zone":
		return "--zone"
	case "VirtualNodes":
		return "--virtual-nodes"
	case "Cluster":
		return "--cluster"
	case "Authorize":
		return "--allow"
	case "StateDir":
		return "--state-dir"
	case "Limits.Connections":
		return "--max-connections"
	case "Limits.ConnectionsPerHost":
		return "--max-per-host"
	}
	if strings.HasPrefix(field, "TLS") {
		return "--tls-cert, --tls-key, --tls-ca"
	}
	return field
}
