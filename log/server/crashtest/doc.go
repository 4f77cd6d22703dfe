// Package crashtest kills the real firn-log, and takes its disk away, and looks
// at what is left. It holds tests only.
//
// A killed process keeps its page cache, so kill -9 shows the order of writes
// but not that they were synced. The second half of the tests therefore lets
// the log live on a file system that keeps unsynced data and names in memory
// and drops them at a simulated power cut.
package crashtest
