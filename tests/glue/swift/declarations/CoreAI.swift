// Declarations of Apple's Core AI that the glue code uses, as documented. They only let tests check types on Linux.
import Foundation

public enum ComputeUnitKind: Sendable { case cpu, gpu, neuralEngine }
public struct SpecializationOptions: Sendable {
    public static let `default` = SpecializationOptions(preferredComputeUnitKind: .cpu)
    public static let cpuOnly = SpecializationOptions(preferredComputeUnitKind: .cpu)
    public init(preferredComputeUnitKind: ComputeUnitKind) {}
}
public struct AIModel: Sendable {
    public init(contentsOf modelURL: URL, options: SpecializationOptions = .default) async throws {}
    public var functionNames: [String] { fatalError() }
    public func loadFunction(named name: String) throws -> InferenceFunction? { nil }
}
/// Stands for Span, which the standard library has from Swift 6.2 on.
public struct DeclaredSpan<Element> {}
public struct NDArray {
    public enum ScalarType: Sendable { case float16, float32, int32, int8, uint8 }
    public init<Scalar: BitwiseCopyable>(scalars: some Sequence<Scalar>, shape: [Int]) { fatalError() }
    public var shape: [Int] { fatalError() }
    public var strides: [Int] { fatalError() }
    public var scalarType: ScalarType { fatalError() }
    public func view<T: BitwiseCopyable>(as type: T.Type = T.self) -> View<T> { fatalError() }
    public struct View<Element: BitwiseCopyable> {
        public func withUnsafePointer<R, E: Error>(
            _ body: (UnsafePointer<Element>, DeclaredSpan<Int>, DeclaredSpan<Int>) throws(E) -> R
        ) throws(E) -> R { fatalError() }
    }
}
public struct InferenceValue: ~Copyable { public var ndArray: NDArray? { nil } }
public struct InferenceFunction: Sendable {
    public struct MutableViews: ~Copyable { public init() {} }
    public struct Outputs: ~Copyable { public mutating func remove(_ name: String) -> InferenceValue? { nil } }
    public func run(
        inputs: [String: NDArray], states: consuming MutableViews = MutableViews(),
        outputViews: consuming MutableViews = MutableViews()
    ) async throws -> Outputs { fatalError() }
}
