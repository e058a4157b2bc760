// Package browser tests the page of a ring in a real browser. It is a module of
// its own, so that nobody who uses concord inherits what drives the browser.
package browser
