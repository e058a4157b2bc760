// Package attack attacks rings of real members on real sockets, one attack a test. After
// each, the ring must be ideal and its lookups right; what was refused must have been refused
// with a clear error, counted and logged. docs/SECURITY.md has the table of attacks, and
// a test here checks that it names every one.
//
// "make attack" runs them all. Package attacktest is the attacker.
package attack
