import Foundation

extension Runtimes {
    /// Core AI; empty on a system without it, which is any before iOS 27 and macOS 27.
    static var coreAI: [any Runtime.Type] {
        #if canImport(CoreAI)
        if #available(iOS 27, macOS 27, *) { return [CoreAIRuntime.self] }
        #endif
        return []
    }
}

#if canImport(CoreAI)
import CoreAI

/// Runs an .aimodel by the system's Core AI.
///
/// Not compiled by the kit's own tests: they have no Apple SDK. It follows Apple's documentation of the framework for
/// iOS 27 as of 2026, and tests check it against declarations from there only.
///
/// Core AI specializes a model for the device when it is loaded first, and keeps the result itself. Its functions may
/// run several times at once, so nothing here is locked.
@available(iOS 27, macOS 27, *)
public struct CoreAIRuntime: Runtime {
    public static let format = "coreai"
    public static let name = "coreai"
    /// Core AI comes with the system, so this is the system's version.
    public static var version: String? {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        return "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    }
    public let delegate: String
    private let function: InferenceFunction
    private let outputs: [Manifest.TensorSpec]

    private init(_ function: InferenceFunction, _ outputs: [Manifest.TensorSpec], _ delegate: String) {
        self.function = function
        self.outputs = outputs
        self.delegate = delegate
    }

    /// Opens a model.
    ///
    /// `options.delegate` is "cpu", which then is the only one, or "gpu" or "neural-engine", which Core AI then
    /// prefers; nil lets it choose among all.
    public static func open(
        _ file: URL, _ artifact: Manifest.Artifact, _ options: LoadOptions
    ) async throws -> CoreAIRuntime {
        let specialization: SpecializationOptions
        switch options.delegate {
        case nil: specialization = .default
        case "cpu": specialization = .cpuOnly
        case "gpu": specialization = SpecializationOptions(preferredComputeUnitKind: .gpu)
        case "neural-engine": specialization = SpecializationOptions(preferredComputeUnitKind: .neuralEngine)
        case let other?:
            throw ModelError.input("found the delegate '\(other)', expected cpu, gpu, neural-engine or none")
        }
        let model = try await AIModel(contentsOf: file, options: specialization)
        guard model.functionNames.count == 1, let name = model.functionNames.first,
            let function = try model.loadFunction(named: name)
        else {
            throw ModelError.bundle(
                "\(artifact.name): found the functions \(model.functionNames.joined(separator: ", ")), expected one")
        }
        let delegate = options.delegate == "cpu" ? "CPU" : "unknown: Core AI does not tell an app what computes a model"
        return CoreAIRuntime(function, artifact.signature.outputs, delegate)
    }

    public func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        var given: [String: NDArray] = [:]
        for (name, tensor) in inputs {
            given[name] = try Self.array(tensor)
        }
        var found = try await function.run(inputs: given)
        var results: [String: Tensor] = [:]
        for spec in outputs {
            guard let array = found.remove(spec.name)?.ndArray else { continue }
            results[spec.name] = try Self.tensor(array, spec)
        }
        return results
    }

    private static func array(_ tensor: Tensor) throws -> NDArray {
        func made<Element: TensorElement>(_ type: Element.Type) throws -> NDArray {
            NDArray(scalars: try tensor.values(as: type), shape: tensor.shape)
        }
        return switch tensor.dtype {
        case .float32: try made(Float.self)
        case .int32: try made(Int32.self)
        case .uint8: try made(UInt8.self)
        case .int8: try made(Int8.self)
        default:
            throw ModelError.input(
                "found an input of \(tensor.dtype.rawValue), this code gives Core AI float32 and integers")
        }
    }

    private static func tensor(_ array: NDArray, _ spec: Manifest.TensorSpec) throws -> Tensor {
        func read<Element: TensorElement>(_ type: Element.Type) throws -> Tensor {
            let shape = array.shape
            let count = shape.reduce(1, *)
            // Memory may be padded: strides say how far the next number of each dimension is.
            let strides = array.strides
            let values = array.view(as: type).withUnsafePointer { (start: UnsafePointer<Element>, _, _) -> [Element] in
                (0..<count).map { index in
                    var (rest, offset) = (index, 0)
                    for dimension in shape.indices.reversed() {
                        offset += rest % shape[dimension] * strides[dimension]
                        rest /= shape[dimension]
                    }
                    return start[offset]
                }
            }
            return try Tensor(values, shape: shape)
        }
        switch (spec.dtype, array.scalarType) {
        case (.float32, .float32): return try read(Float.self)
        case (.int32, .int32): return try read(Int32.self)
        default:
            throw ModelError.runtimeMissing(
                "Core AI gave \(array.scalarType) for \(spec.name), expected \(spec.dtype.rawValue); "
                    + "this code takes float32 and int32: take another artifact")
        }
    }
}
#endif
