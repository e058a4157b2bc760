// Command bench measures concord beside what others use to the same end:
// membership by gossip (hashicorp/memberlist, hashicorp/serf) with a hash ring in
// each process (serialx/hashring, groupcache's consistenthash). It writes what it
// measured as JSON, as SVG plots, and as the generated part of docs/PERFORMANCE.md.
//
//	go run . -docs ../docs          measure all, an hour or more: make bench
//	go run . -quick                 the same with little time, to see that it works
//	go run . -from FILE -docs DIR   only write the page and the plots again
//
// Each group of members runs in a process of its own, all its members in it,
// speaking over loopback: the figures of one are not coloured by what another left
// behind. One group is measured after the other, by the same code.
//
// It is a module of its own, so that nobody who uses concord inherits what it needs.
package main
