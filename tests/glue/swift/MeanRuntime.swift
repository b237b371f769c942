// A runtime for tests: the mean of each channel of its input, times what its file says.
import Foundation

actor MeanRuntime: Runtime {
    static let format = "mean"
    static let name = "meanruntime"
    static let version: String? = "1.9.1"
    nonisolated let delegate: String
    private let factor: Double
    private let output: String

    init(factor: Double, output: String, delegate: String) {
        (self.factor, self.output, self.delegate) = (factor, output, delegate)
    }

    static func open(_ file: URL, _ artifact: Manifest.Artifact, _ options: LoadOptions) async throws -> MeanRuntime {
        guard let factor = Double(try String(contentsOf: file, encoding: .utf8)) else {
            throw CocoaError(.fileReadCorruptFile)
        }
        return MeanRuntime(
            factor: factor, output: artifact.signature.outputs[0].name,
            delegate: options.delegate ?? "unknown: it does not tell")
    }

    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        guard let image = inputs["image"] else { throw CocoaError(.keyValueValidation) }
        let values = image.doubles()
        guard values[0] != 0.25 else { throw CocoaError(.featureUnsupported) }
        let interleaved = image.dtype == .uint8
        let area = values.count / 3
        let means = (0..<3).map { channel in
            let own = (0..<area).map { values[interleaved ? 3 * $0 + channel : channel * area + $0] }
            return Float(own.reduce(0, +) / Double(area) / (interleaved ? 255 : 1) * factor)
        }
        return [output: try Tensor(means, shape: [1, 3])]
    }
}
