package log

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// eventsType is the media type of server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
const eventsType = "text/event-stream"

// Bounds of the events of a log (spec/log.md#watching): a line holds at most the
// escaped texts of MaxWatched keys.
const (
	maxEventLine  = 256 << 10 // bytes
	maxEventLines = 64        // of one event, without comments
)

// errEvents is matched by the error for what are no events of a log.
var errEvents = errors.New("malformed events")

// event is one server-sent event.
type event struct {
	name string // "" if it has none
	data []byte // of its only data line
}

// eventReader reads events from a stream. It reads what a log may send: lines that end in a
// line feed; "event" and "data" at most once in an event; other fields and comments
// are skipped.
type eventReader struct {
	r *bufio.Reader
}

func newEventReader(r io.Reader) *eventReader {
	return &eventReader{bufio.NewReaderSize(r, maxEventLine+1)}
}

// next returns the next event that has data. alive is called with every line. The
// error matches errEvents, or is that of the stream: io.ErrUnexpectedEOF at its end,
// wherever that is, because a watch has none.
func (r *eventReader) next(alive func()) (event, error) {
	var e event
	var named, full bool
	for lines := 0; ; {
		line, err := r.line()
		if err != nil {
			return event{}, err
		}
		alive()
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) > 0 && len(field) == 0:
			continue // a comment
		case len(line) == 0 && full:
			return e, nil
		case len(line) == 0:
			e, named, lines = event{}, false, 0
			continue
		case string(field) == "event" && named, string(field) == "data" && full:
			return event{}, fmt.Errorf("%w: %s twice in one", errEvents, field)
		case string(field) == "event":
			e.name, named = string(value), true
		case string(field) == "data":
			e.data, full = bytes.Clone(value), true
		}
		if lines++; lines > maxEventLines {
			return event{}, fmt.Errorf("%w: more than %d lines in one", errEvents, maxEventLines)
		}
	}
}

// line returns the next line without its end; it is only good until the next call.
func (r *eventReader) line() ([]byte, error) {
	line, err := r.r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, fmt.Errorf("%w: a line of more than %d bytes", errEvents, maxEventLine)
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	line = line[:len(line)-1]
	if bytes.IndexByte(line, '\r') >= 0 || !utf8.Valid(line) {
		return nil, fmt.Errorf("%w: a carriage return, or not UTF-8", errEvents)
	}
	return line, nil
}
