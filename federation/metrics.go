package federation

// Metrics count what a peer sees.
type Metrics struct{}
