package statement

// Kind returns KindBuild.
func (*Build) Kind() Kind { return KindBuild }

// Check implements [Body].
func (b *Build) Check() error            { return nil }
func (b *Build) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *Build) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindBuildFailed.
func (*BuildFailed) Kind() Kind { return KindBuildFailed }

// Check implements [Body].
func (b *BuildFailed) Check() error            { return nil }
func (b *BuildFailed) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *BuildFailed) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindCacheSig.
func (*CacheSig) Kind() Kind { return KindCacheSig }

// Check implements [Body].
func (b *CacheSig) Check() error            { return nil }
func (b *CacheSig) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *CacheSig) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindClosure.
func (*Closure) Kind() Kind { return KindClosure }

// Check implements [Body].
func (b *Closure) Check() error            { return nil }
func (b *Closure) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *Closure) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindOperator.
func (*Operator) Kind() Kind { return KindOperator }

// Check implements [Body].
func (b *Operator) Check() error            { return nil }
func (b *Operator) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *Operator) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindKeyAdd.
func (*KeyAdd) Kind() Kind { return KindKeyAdd }

// Check implements [Body].
func (b *KeyAdd) Check() error            { return nil }
func (b *KeyAdd) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *KeyAdd) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindKeyRevoke.
func (*KeyRevoke) Kind() Kind { return KindKeyRevoke }

// Check implements [Body].
func (b *KeyRevoke) Check() error            { return nil }
func (b *KeyRevoke) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *KeyRevoke) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindVouch.
func (*Vouch) Kind() Kind { return KindVouch }

// Check implements [Body].
func (b *Vouch) Check() error            { return nil }
func (b *Vouch) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *Vouch) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindRetract.
func (*Retract) Kind() Kind { return KindRetract }

// Check implements [Body].
func (b *Retract) Check() error            { return nil }
func (b *Retract) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *Retract) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindGenesis.
func (*Genesis) Kind() Kind { return KindGenesis }

// Check implements [Body].
func (b *Genesis) Check() error            { return nil }
func (b *Genesis) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *Genesis) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }

// Kind returns KindLogConfig.
func (*LogConfig) Kind() Kind { return KindLogConfig }

// Check implements [Body].
func (b *LogConfig) Check() error            { return nil }
func (b *LogConfig) encode() ([]byte, error) { return nil, errf(CodeInternalError, "not built yet") }
func (b *LogConfig) decode([]byte) error     { return errf(CodeInternalError, "not built yet") }
