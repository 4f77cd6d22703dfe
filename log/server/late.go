package server

// statedWithin is how many entries the log has at most after the checkpoint that it
// states a revision of: more come in before the revision does, and it must not be far
// behind (spec/index.md#revisions, rule 25). A variable for tests.
var statedWithin uint64 = 8192

// tooLate reports whether so much was added since the checkpoint of a size that no
// revision of it is stated any more; there will be a newer one. It is so when the map was
// made anew.
func (s *Server) tooLate(size uint64) bool {
	s.seq.mu.Lock()
	queued := len(s.seq.queue)
	s.seq.mu.Unlock()
	return s.db.State().Size+uint64(queued) > size+statedWithin
}
