import Foundation

extension Runtimes {
    /// Core ML; empty on a system without it.
    static var coreML: [any Runtime.Type] {
        #if canImport(CoreML)
        [CoreMLRuntime.self]
        #else
        []
        #endif
    }
}

#if canImport(CoreML)
import CoreML
import CoreVideo

/// Runs an .mlpackage by the system's Core ML.
///
/// Not compiled by the kit's own tests: they have no Apple SDK, and check this file against declarations only.
///
/// Core ML compiles a package on the device. The result is kept in the app's folder of caches, for each version of the
/// system.
public actor CoreMLRuntime: Runtime {
    public static let format = "coreml"
    public static let name = "coreml"
    /// Core ML comes with the system, so this is the system's version.
    public static var version: String? { system }
    public nonisolated let delegate: String
    private let model: MLModel
    private let outputs: [Manifest.TensorSpec]

    private static var system: String {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        return "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
    }

    private init(_ compiled: URL, _ units: MLComputeUnits, _ outputs: [Manifest.TensorSpec], _ delegate: String) throws
    {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        model = try MLModel(contentsOf: compiled, configuration: configuration)
        self.outputs = outputs
        self.delegate = delegate
    }

    /// Opens a package.
    ///
    /// `options.delegate` is "cpu", "gpu" or "neural-engine", each beside the CPU; nil lets Core ML choose among all.
    public static func open(
        _ file: URL, _ artifact: Manifest.Artifact, _ options: LoadOptions
    ) async throws -> CoreMLRuntime {
        let units: MLComputeUnits
        switch options.delegate {
        case nil: units = .all
        case "cpu": units = .cpuOnly
        case "gpu": units = .cpuAndGPU
        case "neural-engine": units = .cpuAndNeuralEngine
        case let other?:
            throw ModelError.input("found the delegate '\(other)', expected cpu, gpu, neural-engine or none")
        }
        let compiled = try await compile(file, artifact.sha256)
        let delegate = await planned(compiled, units)
        return try CoreMLRuntime(compiled, units, artifact.signature.outputs, delegate)
    }

    public func run(_ inputs: [String: Tensor]) throws -> [String: Tensor] {
        var features: [String: MLFeatureValue] = [:]
        for (name, tensor) in inputs {
            let isImage = model.modelDescription.inputDescriptionsByName[name]?.type == .image
            features[name] = isImage ? MLFeatureValue(pixelBuffer: try Self.image(tensor)) : try Self.array(tensor)
        }
        let found = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: features))
        var results: [String: Tensor] = [:]
        for spec in outputs {
            guard let value = found.featureValue(for: spec.name) else { continue }
            results[spec.name] = try Self.tensor(value, spec)
        }
        return results
    }

    /// The compiled package, from the cache where it is there.
    private static func compile(_ package: URL, _ sha256: String) async throws -> URL {
        let files = FileManager.default
        let folder = try files.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
            .appendingPathComponent("edgedistill", isDirectory: true)
        let cached = folder.appendingPathComponent("\(sha256)-\(system).mlmodelc", isDirectory: true)
        if files.fileExists(atPath: cached.path) { return cached }
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        let compiled = try await MLModel.compileModel(at: package)
        do {
            try files.moveItem(at: compiled, to: cached)
        } catch {
            // Another task may have put it there in the meantime.
            guard files.fileExists(atPath: cached.path) else { throw error }
            try? files.removeItem(at: compiled)
        }
        return cached
    }

    /// On which processors Core ML means to run the operators. It does not tell where they did run.
    private static func planned(_ compiled: URL, _ units: MLComputeUnits) async -> String {
        guard #available(iOS 17.4, macOS 14.4, *) else {
            return "unknown: Core ML tells from iOS 17.4 and macOS 14.4 on"
        }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        guard let plan = try? await MLComputePlan.load(contentsOf: compiled, configuration: configuration),
            case .program(let program) = plan.modelStructure, let main = program.functions["main"]
        else {
            return "unknown: Core ML has no compute plan of this model"
        }
        var counts: [String: Int] = [:]
        for operation in main.block.operations {
            // Constants run nowhere.
            guard let usage = plan.deviceUsage(for: operation) else { continue }
            switch usage.preferred {
            case .cpu: counts["CPU", default: 0] += 1
            case .gpu: counts["GPU", default: 0] += 1
            case .neuralEngine: counts["Neural Engine", default: 0] += 1
            @unknown default: counts["another processor", default: 0] += 1
            }
        }
        let parts = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) (\($0.value))" }
        return parts.isEmpty
            ? "unknown: Core ML has no compute plan of this model" : "planned: " + parts.joined(separator: ", ")
    }

    private static func array(_ tensor: Tensor) throws -> MLFeatureValue {
        switch tensor.dtype {
        case .float32:
            MLFeatureValue(shapedArray: MLShapedArray<Float>(scalars: try tensor.values(), shape: tensor.shape))
        case .int32:
            MLFeatureValue(shapedArray: MLShapedArray<Int32>(scalars: try tensor.values(), shape: tensor.shape))
        default:
            throw ModelError.input(
                "found an input of \(tensor.dtype.rawValue), this code gives Core ML float32 and int32")
        }
    }

    private static func tensor(_ value: MLFeatureValue, _ spec: Manifest.TensorSpec) throws -> Tensor? {
        switch spec.dtype {
        case .float32:
            guard let array = value.shapedArrayValue(of: Float.self) else { return nil }
            return try Tensor(Array(array.scalars), shape: array.shape)
        case .int32:
            guard let array = value.shapedArrayValue(of: Int32.self) else { return nil }
            return try Tensor(Array(array.scalars), shape: array.shape)
        default:
            throw ModelError.runtimeMissing(
                "\(spec.name) is \(spec.dtype.rawValue), this code takes float32 and int32 from Core ML: "
                    + "take another artifact"
            )
        }
    }

    /// A picture of the system from RGB bytes [1, height, width, 3].
    private static func image(_ tensor: Tensor) throws -> CVPixelBuffer {
        let pixels: [UInt8] = try tensor.values()
        let (height, width) = (tensor.shape[1], tensor.shape[2])
        var made: CVPixelBuffer?
        let attributes = [kCVPixelBufferIOSurfacePropertiesKey as String: [String: Any]()] as CFDictionary
        let status = CVPixelBufferCreate(nil, width, height, kCVPixelFormatType_32BGRA, attributes, &made)
        guard status == kCVReturnSuccess, let buffer = made,
            CVPixelBufferLockBaseAddress(buffer, []) == kCVReturnSuccess
        else {
            throw ModelError.input("found no memory for a picture of \(width) x \(height) (Core Video says \(status))")
        }
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        guard let start = CVPixelBufferGetBaseAddress(buffer) else {
            throw ModelError.input("found a picture without memory")
        }
        let stride = CVPixelBufferGetBytesPerRow(buffer)
        for y in 0..<height {
            let row = (start + y * stride).assumingMemoryBound(to: UInt8.self)
            for x in 0..<width {
                let from = 3 * (y * width + x)
                row[4 * x] = pixels[from + 2]
                row[4 * x + 1] = pixels[from + 1]
                row[4 * x + 2] = pixels[from]
                row[4 * x + 3] = 255
            }
        }
        return buffer
    }
}
#endif
