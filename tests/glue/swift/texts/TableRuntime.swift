// A runtime for tests: a model file is a table in a .npy; a run gives the mean of the rows of the tokens in the mask.
import Foundation

actor TableRuntime: Runtime {
    static let format = "mean"
    static let name = "tableruntime"
    static let version: String? = "1.0"
    nonisolated let delegate = "plain"
    private let rows: [Double]
    private let columns: Int
    private let output: String

    init(_ table: Tensor, _ output: String) {
        (rows, columns, self.output) = (table.doubles(), table.shape[1], output)
    }

    static func open(_ file: URL, _ artifact: Manifest.Artifact, _ options: LoadOptions) async throws -> TableRuntime {
        TableRuntime(try Tensor(npy: Data(contentsOf: file), name: artifact.name), artifact.signature.outputs[0].name)
    }

    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        guard let tokens = inputs["input_ids"]?.doubles(), let mask = inputs["attention_mask"]?.doubles() else {
            throw CocoaError(.keyValueValidation)
        }
        let sums = (0..<columns).map { column in
            zip(tokens, mask).reduce(0) { $0 + $1.1 * rows[Int($1.0) * columns + column] }
        }
        let values = sums.map { Float($0 / mask.reduce(0, +)) }
        return [output: try Tensor(values, shape: [1, columns])]
    }
}
