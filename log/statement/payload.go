package statement

// ParsePayload reads a payload that is not signed yet, with all the checks of
// [Parse] that need no signer, and returns its body. payload must not be changed afterwards.
func ParsePayload(payload []byte) (Body, error) {
	s := &Statement{Payload: payload}
	if err := s.parsePayload(); err != nil {
		return nil, err
	}
	return s.Body, nil
}
