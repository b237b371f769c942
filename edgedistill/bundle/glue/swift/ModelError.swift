import Foundation

/// An error of this package. The message says what was found, what was expected, and what to do.
///
/// A cancelled call throws `CancellationError` instead, as everywhere in Swift.
public enum ModelError: Error, Sendable {
    /// The bundle is missing, damaged, changed, unsigned, or newer than this code.
    case bundle(String)
    /// No artifact of the bundle can run here: there is no runtime for it, or the runtime or the system is too old.
    case runtimeMissing(String)
    /// An input has another type, shape or size than the model takes.
    case input(String)
    /// The runtime failed; `cause` is its own error.
    case runtimeFailed(String, cause: any Error)
    /// The model was closed before.
    case closed(String)

    /// What was found, what was expected, and what to do.
    public var message: String {
        switch self {
        case .bundle(let text), .runtimeMissing(let text), .input(let text), .closed(let text): text
        case .runtimeFailed(let text, _): text
        }
    }
}

extension ModelError: LocalizedError, CustomStringConvertible {
    public var errorDescription: String? { message }
    public var description: String { message }
}
