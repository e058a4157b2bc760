// Package metrics is the one list of what is measured of a member or a client, and
// where each figure comes from. Packages concordprom and concordotel give it out
// in their own terms; docs/METRICS.md is made of it.
package metrics
