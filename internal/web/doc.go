// Package web is the page of a ring: a drawing that is live, the path of any
// lookup, and what has happened. The same is served as JSON at the same address,
// from the same struct, see [Page].
//
// # What it asks of the ring
//
// The page belongs to one member and shows the ring as that member finds it. Of
// its own member it knows everything. The others are found by walking the ring,
// while somebody looks: one walk at a time, at most one in Config.Interval,
// however many look. While nobody does it asks nobody anything; of what happened
// meanwhile it has only what its own member has seen.
//
// # Who may see it
//
// Whoever can connect can see the ring and look keys up, and can change nothing.
// There is no login, so listen on loopback, or put it behind something that has
// one. Requests that name a host which is not this server's are refused, and so
// are those that a page of another origin sends: a web site that somebody visits
// cannot look into a ring through the browser. Names of members are text that
// others chose, and never become markup.
package web
