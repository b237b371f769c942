// Declarations of ExecuTorch that the glue code uses, as its headers have them. They only let tests check types on
// Linux.
import Foundation

public enum DataType: Int8 { case byte, char, short, int, long, half, float, double, bool, uInt16 }
public enum ShapeDynamism: UInt8 { case `static`, dynamicBound, dynamicUnbound }
public final class AnyTensor {
    public init(
        data: Data, shape: [Int], strides: [Int] = [], dimensionOrder: [Int] = [], dataType: DataType,
        shapeDynamism: ShapeDynamism = .dynamicBound
    ) {}
    public var dataType: DataType { fatalError() }
    public var shape: [Int] { fatalError() }
    public func bytes(_ handler: (UnsafeRawPointer, Int, DataType) -> Void) {}
}
public final class Tensor<Element> {}
public final class Value { public var anyTensor: AnyTensor? { nil } }
public protocol ValueConvertible { func asValue() -> Value }
extension AnyTensor: ValueConvertible { public func asValue() -> Value { fatalError() } }
public protocol ValueSequenceConstructible {}
public final class MethodMetadata { public var backendNames: [String] { [] } }
public final class Module {
    public init(filePath: String) {}
    public func load(_ method: String) throws {}
    public func methodMetadata(_ method: String) throws -> MethodMetadata { fatalError() }
    public func forward(_ inputs: [any ValueConvertible]) throws -> [Value] { [] }
    public func forward(_ inputs: any ValueConvertible...) throws -> [Value] { [] }
    public func forward<Output: ValueSequenceConstructible>(_ inputs: [any ValueConvertible]) throws -> Output {
        fatalError()
    }
}
