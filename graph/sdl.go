package graph

// SDL returns schema.graphqls as it was when the code was generated from it.
func SDL() string { return sources[0].Input }
