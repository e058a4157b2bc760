// Package routing answers where on the circle an identifier belongs: immutable
// tables of what a member knows, the search that asks member after member with
// them, and the fingers that keep the number of members asked logarithmic. It
// does no I/O and reads no clock.
package routing
