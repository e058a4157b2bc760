package web

// MetaURL is the address of a page that is made of what a member says of itself.
func MetaURL(said []byte) string { return meta(said).URL }
