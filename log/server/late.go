package server

// statedWithin is how far behind at most a revision is stated, in entries: within the bound of
// spec/index.md#revisions, rule 25. A variable for tests.
var statedWithin uint64 = 24576

// tooLate reports whether a revision of a size would be too far behind if it were next in line;
// then there will be one of a newer checkpoint. It is so when the map was made anew, or more
// comes in than is published. The caller holds seq.mu, so that nothing gets in line before the
// revision.
func (s *Server) tooLate(size uint64) bool {
	// What is being added may count twice.
	return s.db.State().Size+uint64(len(s.seq.inflight)) > size+statedWithin
}
