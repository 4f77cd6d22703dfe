// Package crashtest kills the real firn-witness, and takes its disk away, and
// looks at what is left. It holds tests only; see also internal/dropfs.
package crashtest
