import Foundation

extension Runtimes {
    /// ExecuTorch; empty where the package does not have it.
    static var execuTorch: [any Runtime.Type] {
        #if canImport(ExecuTorch)
        [ExecuTorchRuntime.self]
        #else
        []
        #endif
    }
}

#if canImport(ExecuTorch)
// All of ExecuTorch is linked (-all_load), also what handles pictures. That needs these two, and the package of
// ExecuTorch 1.4 does not link them.
import Accelerate
import CoreImage
import ExecuTorch

/// Runs a .pte by ExecuTorch, which is part of the app.
///
/// Not compiled by the kit's own tests: ExecuTorch has binaries for Apple's systems only. Tests check this file against
/// declarations from its headers (1.5).
///
/// Its Swift API (1.4) takes no number of threads, and its XNNPACK backend ignores the option `num_threads`. It uses as
/// many threads as the device has performance cores.
///
/// `Tensor` is the one of this package here, not ExecuTorch's.
public actor ExecuTorchRuntime: Runtime {
    public static let format = "executorch"
    public static let name = "executorch"
    /// ExecuTorch does not tell its version; Package.swift pins it.
    public static var version: String? { nil }
    public nonisolated let delegate: String
    private let module: Module
    private let inputs: [Manifest.TensorSpec]
    private let outputs: [Manifest.TensorSpec]

    private init(_ file: URL, _ signature: Manifest.Signature, _ wanted: String?) throws {
        module = Module(filePath: file.path)
        do {
            try module.load("forward")
        } catch {
            throw ModelError.runtimeFailed(
                "executorch can't load \(file.lastPathComponent): \(error). If it does not find a backend or an "
                    + "operator, the linker has left it out: add -all_load to Other Linker Flags of the app's target",
                cause: error)
        }
        let backends = try module.methodMetadata("forward").backendNames
        if let wanted, !backends.contains(where: { $0.lowercased().hasPrefix(wanted.lowercased()) }) {
            let found = backends.isEmpty ? "none" : backends.joined(separator: ", ")
            throw ModelError.runtimeMissing(
                "\(file.lastPathComponent) was made for the delegates \(found), expected \(wanted): "
                    + "load the artifact made for it"
            )
        }
        delegate = backends.isEmpty ? "ExecuTorch's own kernels on the CPU" : backends.joined(separator: ", ")
        inputs = signature.inputs
        outputs = signature.outputs
    }

    /// Opens a program.
    ///
    /// What computes it is part of the file. With `options.delegate` a file for another one is refused.
    public static func open(
        _ file: URL, _ artifact: Manifest.Artifact, _ options: LoadOptions
    ) async throws -> ExecuTorchRuntime {
        try ExecuTorchRuntime(file, artifact.signature, options.delegate)
    }

    /// Runs once. ExecuTorch knows inputs and outputs by their order only, which is that of the signature.
    public func run(_ tensors: [String: Tensor]) throws -> [String: Tensor] {
        var values: [any ValueConvertible] = []
        for spec in inputs {
            guard let tensor = tensors[spec.name] else { continue }
            values.append(AnyTensor(data: tensor.data, shape: tensor.shape, dataType: Self.type(tensor.dtype)))
        }
        let found: [Value] = try module.forward(values)
        var results: [String: Tensor] = [:]
        for (spec, value) in zip(outputs, found) {
            guard let tensor = value.anyTensor else { continue }
            guard tensor.dataType == Self.type(spec.dtype) else {
                throw ModelError.runtimeMissing(
                    "ExecuTorch gave another type for \(spec.name) than \(spec.dtype.rawValue): "
                        + "take the artifact of this manifest"
                )
            }
            var data = Data()
            tensor.bytes { pointer, count, _ in data = Data(bytes: pointer, count: count * spec.dtype.size) }
            results[spec.name] = try Tensor(dtype: spec.dtype, shape: tensor.shape, data: data)
        }
        return results
    }

    private static func type(_ dtype: Tensor.DType) -> DataType {
        switch dtype {
        case .float16: .half
        case .float32: .float
        case .float64: .double
        case .int8: .char
        case .uint8: .byte
        case .int16: .short
        case .uint16: .uInt16
        case .int32: .int
        case .int64: .long
        case .bool: .bool
        }
    }
}
#endif
