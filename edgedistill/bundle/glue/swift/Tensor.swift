import Foundation

/// Numbers in memory, row-major, in the byte order of the machine, which is little endian on all of Apple's.
public struct Tensor: Sendable, Equatable {
    /// The type of the numbers, by numpy's name.
    public enum DType: String, Decodable, Sendable {
        case float16, float32, float64, int8, uint8, int16, uint16, int32, int64, bool

        /// Bytes of one number.
        public var size: Int {
            switch self {
            case .int8, .uint8, .bool: 1
            case .float16, .int16, .uint16: 2
            case .float32, .int32: 4
            case .float64, .int64: 8
            }
        }
    }

    public let dtype: DType
    public let shape: [Int]
    /// `count * dtype.size` bytes.
    public let data: Data

    /// How many numbers there are.
    public var count: Int { shape.reduce(1, *) }

    /// A tensor of bytes that are there already. Throws `ModelError.input` where they do not fit the shape.
    public init(dtype: DType, shape: [Int], data: Data) throws {
        var expected = dtype.size
        for size in shape {
            let (product, overflow) = expected.multipliedReportingOverflow(by: size)
            guard size >= 0, !overflow else {
                throw ModelError.input("found the shape \(shape), expected sizes of 0 or more that fit into memory")
            }
            expected = product
        }
        guard data.count == expected else {
            throw ModelError.input(
                "found \(data.count) bytes for \(dtype.rawValue)\(shape), expected \(expected)")
        }
        self.dtype = dtype
        self.shape = shape
        self.data = data
    }

    /// A tensor of `values`, row-major. Throws `ModelError.input` where their number does not fit the shape.
    public init<Element: TensorElement>(_ values: [Element], shape: [Int]) throws {
        try self.init(dtype: Element.dtype, shape: shape, data: values.withUnsafeBytes { Data($0) })
    }

    /// All numbers, row-major. Throws `ModelError.input` where they are of another type.
    public func values<Element: TensorElement>(as type: Element.Type = Element.self) throws -> [Element] {
        guard dtype == Element.dtype else {
            throw ModelError.input("found a tensor of \(dtype.rawValue), expected \(Element.dtype.rawValue)")
        }
        return elements()
    }

    /// All numbers as Double, row-major, whatever their type is; true is 1.
    public func doubles() -> [Double] {
        switch dtype {
        case .float16: elements(of: UInt16.self).map(Tensor.half)
        case .float32: elements(of: Float.self).map(Double.init)
        case .float64: elements(of: Double.self)
        case .int8: elements(of: Int8.self).map(Double.init)
        case .uint8: elements(of: UInt8.self).map(Double.init)
        case .int16: elements(of: Int16.self).map(Double.init)
        case .uint16: elements(of: UInt16.self).map(Double.init)
        case .int32: elements(of: Int32.self).map(Double.init)
        case .int64: elements(of: Int64.self).map(Double.init)
        case .bool: elements(of: UInt8.self).map { $0 == 0 ? 0 : 1 }
        }
    }

    /// Part `index` of the first dimension, without that dimension.
    public func part(_ index: Int) throws -> Tensor {
        guard let first = shape.first, (0..<first).contains(index) else {
            throw ModelError.input(
                "found part \(index) of \(dtype.rawValue)\(shape), expected one of the first dimension")
        }
        let bytes = data.count / first
        let start = data.startIndex + index * bytes
        return try Tensor(dtype: dtype, shape: Array(shape.dropFirst()), data: data.subdata(in: start..<start + bytes))
    }

    /// The same numbers in another shape of as many numbers.
    public func reshaped(_ shape: [Int]) throws -> Tensor {
        try Tensor(dtype: dtype, shape: shape, data: data)
    }

    /// Zeros.
    public static func zeros(_ dtype: DType, _ shape: [Int]) throws -> Tensor {
        try Tensor(dtype: dtype, shape: shape, data: Data(count: dtype.size * shape.reduce(1, *)))
    }

    private func elements<Element: BitwiseCopyable>(of type: Element.Type = Element.self) -> [Element] {
        data.withUnsafeBytes { bytes in
            let count = bytes.count / MemoryLayout<Element>.size
            return (0..<count).map {
                bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.size, as: Element.self)
            }
        }
    }

    /// The number that 16 bits of a half-precision float stand for. Swift's own Float16 is missing on Intel Macs.
    private static func half(_ bits: UInt16) -> Double {
        let sign: Double = bits >> 15 == 0 ? 1 : -1
        let exponent = Int(bits >> 10 & 31)
        let fraction = Double(bits & 1023)
        switch exponent {
        case 0: return sign * fraction * 0x1p-24
        case 31: return fraction == 0 ? sign * .infinity : .nan
        default: return sign * (1024 + fraction) * Double(sign: .plus, exponent: exponent - 25, significand: 1)
        }
    }
}

/// A Swift type of numbers that a ``Tensor`` may have. Those of float16 and bool are given as bytes.
public protocol TensorElement: BitwiseCopyable, Sendable {
    static var dtype: Tensor.DType { get }
}

extension Float: TensorElement { public static var dtype: Tensor.DType { .float32 } }
extension Double: TensorElement { public static var dtype: Tensor.DType { .float64 } }
extension Int8: TensorElement { public static var dtype: Tensor.DType { .int8 } }
extension UInt8: TensorElement { public static var dtype: Tensor.DType { .uint8 } }
extension Int16: TensorElement { public static var dtype: Tensor.DType { .int16 } }
extension UInt16: TensorElement { public static var dtype: Tensor.DType { .uint16 } }
extension Int32: TensorElement { public static var dtype: Tensor.DType { .int32 } }
extension Int64: TensorElement { public static var dtype: Tensor.DType { .int64 } }
