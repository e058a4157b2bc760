// Package bench measures what a ring costs and how quick it is: lookups beside a
// bare gRPC call and a bare binary search, building, joining and healing, rest,
// and how often lookups are wrong while members come and go. All members are in
// this process and speak over loopback, so a figure that is of the process
// includes both ends of everything.
//
// Figures depend on the machine; ratios of figures of one run depend on it less.
// What is to be compared is therefore measured in turns (see [Race]), and every
// figure is a median of several rounds.
package bench
