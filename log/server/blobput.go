package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/server/admission"
	"github.com/firn-log/firn/log/server/blobs"
	"github.com/firn-log/firn/log/statement"
)

// What blobs cost (spec/log.md#limits).
const (
	uploadsAtOnce = 8         // one address may send a fourth of them
	bytesPerLeaf  = 16 << 10  // of blobs, which count as one leaf from one address
	slowestUpload = 256 << 10 // bytes a second
)

// postBlobs answers POST /v1/blobs: a statement with blobs that it names. Everything that
// can refuse it is asked before the blobs are read, and they go to the disk as they come.
func (s *Server) postBlobs(w http.ResponseWriter, r *http.Request) error {
	wait, err := waitOf(r, defaultWait)
	if err != nil {
		return err
	}
	if err := checkPut(r); err != nil {
		return err
	}
	release, err := s.work(r, statement.MaxLargeLeaf)
	if err != nil {
		return err
	}
	defer release()
	if err := s.seq.reason(); err != nil {
		return &closedError{err}
	}
	if err := s.limits.take(r, 1+int(r.ContentLength/bytesPerLeaf)); err != nil {
		return err
	}
	f := newFrames(r.Body, r.ContentLength)
	leaf, err := f.leaf()
	if err != nil {
		return err
	}
	sub := submission{leaf: leaf}
	wanted, err := s.beforeBlobs(r.Context(), &sub, f.left)
	if err != nil {
		return err
	}
	var put *blobs.Put
	if wanted {
		if put, err = s.upload(w, r, f, &sub); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), durableLimit)
	defer cancel()
	answer, covered, err := s.submitWith(ctx, sub, put)
	if err != nil {
		return err
	}
	return s.answerSubmission(w, r, answer, covered, wait)
}

// checkPut refuses what is no request with blobs.
func checkPut(r *http.Request) error {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != blobsType {
		return &httpError{http.StatusUnsupportedMediaType, "wrong-content-type", "the content type must be " + blobsType, 0}
	}
	switch n := r.ContentLength; {
	case n < 0:
		return &httpError{http.StatusLengthRequired, "length-required", "the length of the body must be declared: it decides whether there is room", 0}
	case n > maxPutBytes:
		return &httpError{http.StatusRequestEntityTooLarge, "request-too-large", "a statement comes with at most 8 blobs of at most 16 MiB each", 0}
	}
	return nil
}

// beforeBlobs decides what can be decided about a leaf before size bytes of blobs are read:
// whether they are wanted, or, in sub.err, why the leaf is refused. An error is the log's.
func (s *Server) beforeBlobs(ctx context.Context, sub *submission, size int64) (wanted bool, err error) {
	if sub.s, sub.err = statement.Parse(sub.leaf); sub.err != nil {
		return false, nil
	}
	if err := s.verify(sub); err != nil && codeOf(err) != statement.CodeNeedsBlob {
		sub.err = err
		return false, nil
	}
	named := statement.Blobs(sub.s.Body)
	if sub.err = s.mayBring(named, size); sub.err != nil {
		return false, nil
	}
	id := sub.s.ID()
	_, logged, err := s.db.IndexOf(ctx, id)
	if err != nil {
		return false, &storageError{err}
	}
	budgets := s.registry.Rules().Budgets
	if !logged {
		vouched, err := s.registry.Check(sub.s)
		if err == nil {
			err = s.budget.Room(sub.s, vouched, uint64(len(sub.leaf))+uint64(size), budgets)
		}
		sub.err = err
		return err == nil, nil
	}
	// What an earlier request has left behind comes first.
	if _, _, err := s.blobs.dir.Settle(time.Time{}, &id, s.fate); err != nil {
		return false, &storageError{err}
	}
	if s.holdsAll(named) {
		return false, nil
	}
	sub.err = late(s.budget.Room(nil, false, uint64(size), budgets))
	return sub.err == nil, nil
}

// holdsAll reports whether there is nothing to bring.
func (s *Server) holdsAll(named []statement.BlobRef) bool {
	for _, b := range named {
		if !s.blobs.dir.Holds(b.Hash, isList(b.Class)) {
			return false
		}
	}
	return true
}

// late says that an error is about blobs alone.
func late(err error) error {
	var a *admission.Error
	if !errors.As(err, &a) {
		return err
	}
	return &admission.Error{Code: a.Code, Msg: "the statement is in the log, and its blobs are not taken, because blobs that come later count against the shared budget: " + a.Msg}
}

// mayBring refuses blobs of a statement that names none that this log takes.
func (s *Server) mayBring(named []statement.BlobRef, size int64) error {
	if size == 0 {
		return nil
	}
	if len(named) == 0 {
		return &admission.Error{Code: admission.CodeBlobNotNamed, Msg: "the statement names no blob"}
	}
	if !s.config.Blobs.Enabled {
		for _, b := range named {
			if isList(b.Class) {
				return nil
			}
		}
		return errBlobsOff
	}
	return nil
}

var errBlobsOff = &admission.Error{Code: admission.CodeBlobsOff, Msg: "this log takes no build logs, derivation texts and reports, but lists of paths only"}

func isList(c statement.BlobClass) bool {
	return c == statement.BlobRefs || c == statement.BlobDrvs
}

// upload reads the blobs of sub, and makes them durable. It returns nil if sub is refused
// because of them.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, f *frames, sub *submission) (*blobs.Put, error) {
	busy := &httpError{http.StatusServiceUnavailable, "busy", "the log is taking as many blobs as it can; try again in a moment", 5}
	release, err := s.shares.uploads.take(ended, r, 1)
	if err != nil {
		return nil, busy
	}
	defer release()
	select {
	case s.blobs.uploads <- struct{}{}:
		defer func() { <-s.blobs.uploads }()
	default:
		return nil, busy
	}
	written, err := s.blobs.dir.Reserve(f.left)
	if err != nil {
		return nil, &storageError{err}
	}
	defer written()
	patience := readTimeout + time.Duration(f.left/slowestUpload)*time.Second
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(patience)) // not every writer has one
	_ = c.SetWriteDeadline(time.Now().Add(patience + writeTimeout))
	put, err := s.blobs.dir.Begin(sub.s.ID())
	if err != nil {
		return nil, &storageError{err}
	}
	if err := s.readBlobs(f, sub, put); err != nil || sub.err != nil {
		put.Drop()
		return nil, err
	}
	if err := put.Sync(); err != nil {
		put.Drop()
		return nil, &storageError{err}
	}
	return put, nil
}

// readBlobs reads the blobs of sub, checks each, and verifies what only its list lets
// verify. A refusal is in sub.err.
func (s *Server) readBlobs(f *frames, sub *submission, put *blobs.Put) error {
	for {
		size, err := f.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		file, err := put.Add(f, size)
		var cut *blobs.ReadError
		if errors.As(err, &cut) {
			return errCutOff
		}
		if err != nil {
			return &storageError{err}
		}
		sub.blobs += uint64(size)
		if err := s.checkBlob(sub.s, put, file); err != nil {
			return refusal(sub, err)
		}
	}
	if sub.verified {
		return nil
	}
	return refusal(sub, s.verifyWithList(sub, put))
}

// refusal puts an error about the statement into sub, and returns any other.
func refusal(sub *submission, err error) error {
	if codeOf(err) == "" {
		return err
	}
	sub.err = err
	return nil
}

// checkBlob refuses a blob that st does not name, that is no list where one is named, or
// that is not taken.
func (s *Server) checkBlob(st *statement.Statement, put *blobs.Put, file *blobs.File) error {
	named, other := false, false
	for _, b := range statement.Blobs(st.Body) {
		if b.Hash == file.Hash {
			named = true
			file.List = file.List || isList(b.Class)
			other = other || !isList(b.Class)
		}
	}
	deleted, err := s.blobs.dir.Deleted(file.Hash)
	switch {
	case err != nil:
		return &storageError{err}
	case !named:
		return &admission.Error{Code: admission.CodeBlobNotNamed, Msg: "the statement does not name the blob " + file.Hash.Hex()}
	case put.Find(file.Hash) != file:
		return &admission.Error{Code: admission.CodeBlobNotNamed, Msg: "the blob " + file.Hash.Hex() + " came twice"}
	case file.List:
		return s.checkList(st.Body, file)
	case other && !s.config.Blobs.Enabled:
		return errBlobsOff
	case deleted:
		return &admission.Error{Code: admission.CodeBlobDeleted, Msg: "the operator of this log has deleted the blob " + file.Hash.Hex() + ", and it is not taken again"}
	}
	return nil
}

// checkList refuses a blob that is no list of paths, or of another length than the
// statement says: lists are kept for ever and mirrored, and nothing else is.
func (s *Server) checkList(body statement.Body, file *blobs.File) error {
	s.blobs.listing <- struct{}{}
	defer func() { <-s.blobs.listing }()
	b, err := file.Read()
	if err != nil {
		return &storageError{err}
	}
	paths, err := statement.ParsePathsBlob(nix.DefaultStoreDir, b)
	if err != nil {
		return &admission.Error{Code: admission.CodeNotAList, Msg: "the blob " + file.Hash.Hex() + " is to be a list of paths: " + err.Error()}
	}
	var count uint64
	switch b := body.(type) {
	case *statement.Closure:
		count = b.Count
	case *statement.Eval:
		count = b.Count
	default:
		return nil
	}
	if uint64(len(paths)) != count {
		return &admission.Error{Code: admission.CodeNotAList, Msg: "the blob " + file.Hash.Hex() + " lists another number of paths than the statement counts"}
	}
	return nil
}

// verifyWithList verifies the signature of a cache-sig that has only the digest of its
// references, with the list that came or that the log holds.
func (s *Server) verifyWithList(sub *submission, put *blobs.Put) error {
	c, ok := sub.s.Body.(*statement.CacheSig)
	if !ok || c.RefsDigest == nil {
		return s.verify(sub)
	}
	s.blobs.listing <- struct{}{}
	defer func() { <-s.blobs.listing }()
	var list []byte
	var err error
	if file := put.Find(*c.RefsDigest); file != nil {
		list, err = file.Read()
	} else if list, err = s.blobs.dir.ReadList(*c.RefsDigest); errors.Is(err, blobs.ErrNotFound) {
		return &statement.Error{Code: statement.CodeNeedsBlob, Msg: "the list of references is missing, which the log does not hold; send it along: " + c.RefsDigest.Hex()}
	}
	if err != nil {
		return &storageError{err}
	}
	refs, err := statement.ParsePathsBlob(c.StoreDir, list)
	if err != nil {
		return err
	}
	key, err := s.registry.Key(sub.s)
	if err == nil {
		err = sub.s.VerifyWithReferences(key, refs)
	}
	sub.verified = err == nil
	return err
}

// submitWith is submit for one leaf with durable blobs; put is nil if none are kept.
func (s *Server) submitWith(ctx context.Context, sub submission, put *blobs.Put) (answer *submitAnswer, covered uint64, err error) {
	subs := []submission{sub}
	answer, covered, err = s.submit(ctx, subs)
	if put == nil {
		return answer, covered, err
	}
	result := &answer.Results[0]
	switch {
	case err != nil:
		put.Leave() // it may be in the log after all
	case result.Status == statusRejected:
		put.Drop()
	case result.Status == statusDuplicate:
		if err := s.chargeLate(put); err != nil {
			put.Drop()
			*result = leafResult{Status: statusRejected, ID: result.ID, Error: codeOf(err), Message: err.Error()}
			return answer, 0, nil
		}
		s.keepBlobs(put)
	default:
		s.keepBlobs(put)
	}
	return answer, covered, err
}

// chargeLate counts the blobs of a statement that was in the log before. Nobody knows
// that its signer sends them, so they count against the budget that all share whom
// nobody has vouched for. What is held is not counted.
func (s *Server) chargeLate(put *blobs.Put) error {
	var size uint64
	for _, f := range put.Files() {
		if !s.blobs.dir.Holds(f.Hash, f.List) {
			size += uint64(f.Size)
		}
	}
	if size == 0 {
		return nil
	}
	_, err := s.budget.Reserve(nil, false, size, s.registry.Rules().Budgets)
	return late(err)
}
