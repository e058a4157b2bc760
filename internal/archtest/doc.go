// Package archtest holds the tests that keep the rooms of this module apart:
// which package may import which, and what the machine may not do. There is
// nothing in it to import.
//
// Each rule states its reason, and a test that breaks prints it. A rule that
// stands in the way of a better plan is changed together with the plan
// (docs/ARCHITECTURE.md), not worked around.
package archtest
